"""Formulas in statements become MathML, words stay words, and nothing is lost on the way."""

import re
import xml.etree.ElementTree as ET

import pytest

from figures.engine.maths import html, mathml
from mdpkit import papers

STATEMENTS = {f"{slug}/{c.claim.id}{part}": text for slug, entry in papers.find().items() for c in entry.checks
              for part, text in (("", c.claim.statement), ("-finding", c.claim.finding)) if text}


def parsed(text):
    return ET.fromstring(f"<p>{text.replace('<wbr>', '')}</p>")


def plain(element):
    return "".join(element.itertext())


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_is_well_formed_and_keeps_its_digits(name):
    text = STATEMENTS[name]
    found = parsed(html(text))
    digits = lambda s: sorted(re.findall(r"\d", s))          # sorted: a script below is set before one above
    assert digits(plain(found)) == digits(text)
    scripts = [e for e in found.iter() if e.tag in ("msub", "msup")]
    assert all(len(e) == 2 for e in scripts) and all(len(e) == 3 for e in found.iter("msubsup"))


@pytest.mark.parametrize(("text", "tree"), [
    ("V^{pi_e}", "<msup><mi>V</mi><mrow><msub><mi>π</mi><mrow><mi>e</mi></mrow></msub></mrow></msup>"),
    ("x_h^2", "<msubsup><mi>x</mi><mrow><mi>h</mi></mrow><mrow><mn>2</mn></mrow></msubsup>"),
    ("S^-1", "<msup><mi>S</mi><mrow><mo>−</mo><mn>1</mn></mrow></msup>"),
    ("V*", "<msup><mi>V</mi><mrow><mo>⋆</mo></mrow></msup>"),
    ("sqrt(n)", "<msqrt><mi>n</mi></msqrt>"),
    ("Phat", "<mover><mi>P</mi><mo>^</mo></mover>"),
    ("<x, y>", "<mrow><mo>⟨</mo><mi>x</mi><mo>,</mo><mi>y</mi><mo>⟩</mo></mrow>"),
])
def test_elements(text, tree):
    assert mathml(text) == f"<math>{tree}</math>"


@pytest.mark.parametrize(("text", "formulas"), [
    ("For every V, with D = T V - V: it holds", ["V", "D=TV−V"]),
    ("a value that is off by at most eps/2.", ["ε/2"]),
    ("A policy at (h, s) in the sup norm", ["(h,s)"]),
    ("the occupancy of pi under P", ["π", "P"]),
    ("It does not blow up with 3^H.", ["3H"]),
    ("no formula at all (of course)", []),
])
def test_words_stay_words(text, formulas):
    found = re.findall(r"(?:<math>.*?</math>(?:<wbr>)?)+", html(text))
    assert [plain(parsed(f)) for f in found] == formulas


def test_narrow_pages_can_break_a_formula_at_its_relations():
    assert mathml("a <= b + c").count("<math>") == 3
    assert mathml("f(a <= b)").count("<math>") == 1


def test_markup_is_escaped():
    assert "<script>" not in html("x <script>alert(1)</script> & y")
    assert parsed(html("a & b < c")) is not None
