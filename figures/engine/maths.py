"""Statements of claims as HTML: the formulas in them, written as one types them, become MathML.

``V^{pi_e} <= sum_h E_nu[x_h^2]`` needs no markup of its own. A word starts a formula when it holds a script or a
relation, calls a function, or is a Greek name or a lone letter; the formula goes on over operators, further such
words and open brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "epsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "kappa": "κ", "lam": "λ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ",
    "Theta": "Θ", "Lambda": "Λ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω"}
LARGE = {"sum": "∑", "prod": "∏"}
NAMED = {"min", "max", "sup", "inf", "log", "ln", "exp", "argmax", "argmin", "KL", "TV", "Var", "Pr", "rank", "span",
         "diag", "trace", "poly", "sqrt", *LARGE}
RELATIONS = {"<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "->": "→", "<-": "←", "||": "‖", "<<": "≪", ">>": "≫",
             "-": "−", "*": "·", "~": "∼"}
TOKEN = re.compile(r"\s+|<=|>=|!=|==|->|<-|\|\||<<|>>|\d+(?:\.\d+)?(?:e[-+]?\d+)?|[A-Za-z]+'*|.")
MATHS = re.compile(r"[\^_=<>+*|\[\]{}~]|[A-Za-z]\(|\d[-/(]\W*\w\b|[-/]\(|\)/|\b[A-Za-z]-\d|"
                   r"^(?!(?i:that|what|chat))[A-Za-z](?:hat|bar|tilde)$")
JOINS = re.compile(r"(?:<=|>=|!=|->|[-+*/=<>~|]|\|\|)$")
ANGLE = re.compile(r"(?:(?<=\W)|^)<(?=[A-Za-z])"), re.compile(r"(?<=[\w)}])>(?=\W|$)")
STAR = re.compile(r"(?<=[A-Za-z\d}])\*(?![A-Za-z\d({\[])")
OPEN, CLOSE = "([{", ")]}"
BREAKS = re.compile("<mo>(?:[≤≥≠=→←+−∼≪≫]|&lt;|&gt;)</mo>")
HATS = {"hat": "^", "bar": "¯", "tilde": "~"}


def html(text: str) -> str:
    """A sentence as HTML, its formulas as MathML."""
    out, words, i = [], text.split(" "), 0
    while i < len(words):
        j = _formula(words, i)
        if j == i:
            out.append(escape(words[i]))
            i += 1
            continue
        body, tail = _without_stop(" ".join(words[i:j]))
        lead = re.match(r"[(\"']*", body).group() if _depth(body) > 0 else ""      # type: ignore[union-attr]
        out.append(f"{escape(lead)}{mathml(body[len(lead):])}{escape(tail)}")
        i = j
    return " ".join(out)


def mathml(formula: str) -> str:
    """One formula as MathML elements, one for each side of a relation or sum, so that a narrow page can break it."""
    parts: list[list[str]] = [[]]
    for element in _Reader(TOKEN.findall(STAR.sub("^⋆", formula))).elements():
        if BREAKS.fullmatch(element) and parts[-1]:
            parts.append([])
            element = element.replace("<mo>", '<mo form="infix">')       # first in its row, it would lose its space
        parts[-1].append(element)
    return "<wbr>".join(f"<math>{''.join(part)}</math>" for part in parts)


def _formula(words: list[str], i: int) -> int:
    """The end of the formula that starts at word i; i itself where none does."""
    if not _starts(words, i):
        return i
    j, depth = i + 1, _depth(words[i])
    while j < len(words):
        ended = re.search(r"[.,;:]$", words[j - 1]) and depth <= 0
        if depth <= 0 and (ended or not (_joins(words[j - 1]) or _goes_on(words, j))):
            break
        depth += _depth(words[j])
        j += 1
    while j > i + 1 and words[j - 1] in ("a", "A", "I"):          # an article behind a formula
        j -= 1
    return j


def _starts(words: list[str], i: int) -> bool:
    word = words[i].strip(".,;:()\"'")
    greek = GREEK.keys() & set(re.split(r"[/()]", word))
    if MATHS.search(words[i].rstrip(".,;:")) or greek or (len(word) == 1 and word.isalpha() and word not in "aAI"):
        return True
    nxt = words[i + 1] if i + 1 < len(words) else ""
    if word in NAMED and nxt and _starts(words, i + 1):
        return True
    return bool(word) and (word in NAMED or word in "aAI" or word[0].isdigit()) and bool(JOINS.fullmatch(nxt))


def _goes_on(words: list[str], j: int) -> bool:
    word = words[j].strip(".,;:")
    if JOINS.fullmatch(word) or _starts(words, j):
        return True
    return word in NAMED and j + 1 < len(words) and _starts(words, j + 1)


def _joins(word: str) -> bool:
    return bool(JOINS.search(word)) or word in NAMED


def _depth(word: str) -> int:
    return sum((c in OPEN) - (c in CLOSE) for c in word) + len(ANGLE[0].findall(word)) - len(ANGLE[1].findall(word))


def _without_stop(formula: str) -> tuple[str, str]:
    m = re.search(r"[.,;:]+$", formula)
    body, tail = (formula[: m.start()], m.group()) if m else (formula, "")
    while _depth(body) < 0 and body[-1:] in CLOSE:                # a bracket that the sentence opened
        body, tail = body[:-1], body[-1] + tail
    return body, tail


@dataclass
class _Reader:
    """Tokens, read from the left."""

    tokens: list[str]
    at: int = 0

    def elements(self, end: str = "") -> list[str]:
        """Everything up to the bracket ``end``, which is left standing."""
        out: list[str] = []
        while self.at < len(self.tokens) and self.tokens[self.at] != end:
            if self.tokens[self.at].isspace():
                self.at += 1
                if out and _letters(out[-1]) and _begins_letters(self._peek()):
                    out.append('<mspace width="0.2em"/>')
                continue
            out.append(self.scripted())
        return out

    def scripted(self) -> str:
        base, down, up = self.atom(), None, None
        while self._peek() in ("_", "^") and self.at + 1 < len(self.tokens):
            sign, self.at = self.tokens[self.at], self.at + 1
            minus = "<mo>−</mo>" if self._peek() == "-" else ""
            self.at += bool(minus)
            script = f"<mrow>{minus}{self.atom(script=True)}</mrow>"
            down, up = (script, up) if sign == "_" else (down, script)
        if down and up:
            return f"<msubsup>{base}{down}{up}</msubsup>"
        if down or up:
            tag = "msub" if down else "msup"
            return f"<{tag}>{base}{down or up}</{tag}>"
        return base

    def atom(self, script: bool = False) -> str:
        token = self.tokens[self.at] if self.at < len(self.tokens) else ""
        self.at += 1
        if token == "{":
            inner = self._group("}")
            return inner if script else f"<mrow><mo>{{</mo>{inner}<mo>}}</mo></mrow>"
        if token in ("(", "["):
            close = CLOSE[OPEN.index(token)]
            return f"<mrow><mo>{token}</mo>{self._group(close)}<mo>{close}</mo></mrow>"
        if token == "sqrt":
            return self._root()
        if token == "<" and self._closes_angle():
            return f"<mrow><mo>⟨</mo>{self._group('>')}<mo>⟩</mo></mrow>"
        if token[:1].isalpha():
            return _letter(token.rstrip("'")) + "<mo>′</mo>" * token.count("'")
        if token[:1].isdigit():
            return f"<mn>{token}</mn>"
        fixed = ' stretchy="false"' if token in ("|", "||") else ""
        return f"<mo{fixed}>{escape(RELATIONS.get(token, token))}</mo>"

    def _root(self) -> str:
        """Of a bracket, or of the one thing that follows."""
        self.at += self._peek().isspace()
        if self._peek() == "(":
            self.at += 1
            return f"<msqrt>{self._group(')')}</msqrt>"
        return f"<msqrt>{self.scripted()}</msqrt>"

    def _group(self, close: str) -> str:
        inner = "".join(self.elements(close))
        self.at += self.at < len(self.tokens)
        return inner

    def _closes_angle(self) -> bool:
        """<x, y>: no blank after the first sign, and a second one before any relation."""
        rest = self.tokens[self.at:]
        if not rest or rest[0].isspace() or ">" not in rest:
            return False
        inner = rest[:rest.index(">")]
        return not {"<", "<=", ">=", "="} & set(inner) and not inner[-1].isspace()

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""


def _letter(name: str) -> str:
    for ending, sign in HATS.items():
        if name.endswith(ending) and len(name) > len(ending):
            return f"<mover>{_letter(name[: -len(ending)])}<mo>{sign}</mo></mover>"
    if name in LARGE:
        return f"<mo>{LARGE[name]}</mo>"
    if name in GREEK:
        return f"<mi>{GREEK[name]}</mi>"
    if len(name) == 1:
        return f"<mi>{name}</mi>"
    if name in NAMED:
        return f"<mi>{name}</mi>"
    return f"<mtext>{name}</mtext>"


def _letters(element: str) -> bool:
    return not element.startswith("<mo>")


def _begins_letters(token: str) -> bool:
    return bool(token) and (token[0].isalnum() or token in OPEN)
