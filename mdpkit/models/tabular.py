"""Tabular decision processes: discounted (dense or sparse) and episodic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models import record
from mdpkit.models.sketch import LARGEST as LARGEST_SKETCH
from mdpkit.models.sketch import chain_svg

LARGEST = 2**31      # entries: beyond this an array of a "small exact world" is a mistake in the sizes


class Rows(NamedTuple):
    """Sparse rows: row k holds ``val[ptr[k]:ptr[k+1]]`` at columns ``col[ptr[k]:ptr[k+1]]``, columns rising."""

    ptr: np.ndarray     # (N+1,) int64
    col: np.ndarray     # (nnz,) int64
    val: np.ndarray     # (nnz,) float64


@dataclass(frozen=True, eq=False, repr=False)
class TabularMDP:
    """A discounted MDP.

    Parameters
    ----------
    P : array (S, A, S) or scipy.sparse (S*A, S)
        ``P[s, a, t]`` = Pr(t | s, a); sparse rows are s*A + a. Canonicalised (see `mdpkit.validate`).
    r : array (S, A)
        Mean rewards; any finite reals, in [0, 1] if ``noise="bernoulli"``.
    gamma : float
        Discount, in [0, 1).
    rho : array (S,)
        Initial law.
    noise : {"none", "bernoulli", "gaussian"}
        How a sampled reward is drawn from its mean; gaussian has unit variance.
    flush : bool
        Drop positive probabilities below 2**-53 instead of refusing them. Not stored.
    """

    P: Any
    r: np.ndarray
    gamma: float
    rho: np.ndarray
    noise: str = "none"

    def __init__(self, P: Any, r: Any, gamma: float, rho: Any, noise: str = "none", *, flush: bool = False):
        noise = validate.choice("noise", noise, record.NOISES)
        r = record.rewards("r", r, ("S", "A"), noise)
        S, A = r.shape
        P = _sparse(P, S, A, flush) if hasattr(P, "tocsr") else validate.simplex("P", P, (S, A, S), flush=flush)
        record.put(self, P=P, r=r, noise=noise, rho=validate.simplex("rho", rho, (S,), flush=flush),
                   gamma=validate.interval("gamma", gamma, 0.0, 1.0, open_hi=True))

    @property
    def S(self) -> int:
        return self.r.shape[0]

    @property
    def A(self) -> int:
        return self.r.shape[1]

    @property
    def is_sparse(self) -> bool:
        return hasattr(self.P, "tocsr")

    @cached_property
    def rows(self) -> Rows:
        """The kernel as sparse rows s*A + a, whichever way it is stored."""
        if self.is_sparse:
            return _frozen(self.P.indptr, self.P.indices, self.P.data)
        return dense_rows(self.P)

    @cached_property
    def dense(self) -> np.ndarray:
        """The kernel as a read-only (S, A, S) array."""
        if not self.is_sparse:
            return self.P
        if self.S * self.A * self.S > LARGEST:
            raise MdpkitError("P", f"dense in at most {LARGEST} entries", None, "use .rows",
                              came=f"it would have {self.S * self.A * self.S}")
        P = self.P.toarray().reshape(self.S, self.A, self.S)
        P.flags.writeable = False
        return P

    @cached_property
    def longest_row(self) -> int:
        """How many successors a pair has at most."""
        ptr, block = self.rows.ptr, 2**18
        return max(int(np.diff(ptr[i : i + block + 1]).max()) for i in range(0, len(ptr) - 1, block))

    def _repr_html_(self) -> str:
        picture = chain_svg(self.dense, self.r, self.rho) if self.S <= LARGEST_SKETCH else ""
        return record.html(self, picture)

    __repr__ = record.text
    save = record.save


@dataclass(frozen=True, eq=False, repr=False)
class EpisodicMDP:
    """A finite-horizon MDP whose kernel and rewards may change with the step.

    Parameters
    ----------
    P : array (H, S, A, S)
        ``P[h, s, a, t]`` = Pr(t | s, a) at step h. The last step's successor is drawn too, and worth nothing.
    r : array (H, S, A)
        Mean rewards.
    rho : array (S,)
        Law of the first state.
    noise : {"none", "bernoulli", "gaussian"}
        As in `TabularMDP`.
    """

    P: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    noise: str = "none"

    def __init__(self, P: Any, r: Any, rho: Any, noise: str = "none", *, flush: bool = False):
        noise = validate.choice("noise", noise, record.NOISES)
        r = record.rewards("r", r, ("H", "S", "A"), noise)
        H, S, A = r.shape
        record.put(self, P=validate.simplex("P", P, (H, S, A, S), flush=flush), r=r, noise=noise,
                   rho=validate.simplex("rho", rho, (S,), flush=flush))

    @classmethod
    def stationary(cls, P: Any, r: Any, rho: Any, H: int, noise: str = "none") -> EpisodicMDP:
        """The same kernel P (S, A, S) at each of H steps, with the same rewards r (S, A), or r (H, S, A)."""
        H = validate.count("H", H)
        r = validate.array("r", r, (H, "S", "A") if np.ndim(r) == 3 else ("S", "A"))
        S, A = r.shape[-2:]
        check_size("H", H, H * S * A * S)
        P = validate.simplex("P", P, (S, A, S))
        model = cls(np.broadcast_to(P, (H, S, A, S)), np.broadcast_to(r, (H, S, A)), rho, noise)
        model.__dict__["one_kernel"] = True
        return model

    @property
    def H(self) -> int:
        return self.r.shape[0]

    @property
    def S(self) -> int:
        return self.r.shape[1]

    @property
    def A(self) -> int:
        return self.r.shape[2]

    @cached_property
    def one_kernel(self) -> bool:
        """Whether P is the same at every step."""
        return bool((self.P[:1] == self.P).all())

    @property
    def is_stationary(self) -> bool:
        """Whether P and r are the same at every step."""
        return bool(self.one_kernel and (self.r == self.r[:1]).all())

    @cached_property
    def rows(self) -> Rows:
        """The kernel as sparse rows (h*S + s)*A + a."""
        return dense_rows(self.P)

    def _repr_html_(self) -> str:
        """With a drawing where every step is the same."""
        picture = chain_svg(self.P[0], self.r[0], self.rho) if self.is_stationary else ""
        return record.html(self, picture)

    __repr__ = record.text
    save = record.save


def dense_rows(P: np.ndarray) -> Rows:
    """Sparse rows of an array whose last axis holds probability vectors."""
    flat = P.reshape(-1, P.shape[-1])
    k, col = np.nonzero(flat)
    ptr = np.zeros(flat.shape[0] + 1, np.int64)
    np.cumsum(np.bincount(k, minlength=flat.shape[0]), out=ptr[1:])
    return _frozen(ptr, col, flat[k, col])


def _frozen(ptr: np.ndarray, col: np.ndarray, val: np.ndarray) -> Rows:
    out = Rows(np.ascontiguousarray(ptr, np.int64), np.ascontiguousarray(col, np.int64), np.ascontiguousarray(val))
    for part in out:
        part.flags.writeable = False
    return out


def _sparse(P: Any, S: int, A: int, flush: bool) -> Any:
    import scipy.sparse as sp

    if P.shape != (S * A, S):
        raise MdpkitError("P", f"of shape (S*A, S) = ({S * A}, {S}) when sparse", None, came=f"its shape is {P.shape}")
    csr = sp.csr_array(P, copy=True)
    if csr.dtype.kind not in "iuf":
        raise MdpkitError("P", "an array of real numbers", None, came=f"its dtype is {csr.dtype}")
    csr = csr.astype(np.float64, copy=False)
    csr.sum_duplicates()
    if not np.isfinite(csr.data).all():
        j = int(np.argmax(~np.isfinite(csr.data)))
        k = int(np.searchsorted(csr.indptr, j, side="right")) - 1
        raise MdpkitError(validate.index("P", (k // A, k % A, int(csr.indices[j]))), "finite", float(csr.data[j]))
    empty = np.diff(csr.indptr) == 0
    if empty.any():
        k = int(np.argmax(empty))
        raise MdpkitError(f"P[{k // A}, {k % A}, :]", "a probability vector", None, came="it has no entries")
    where = lambda k: f"P[{k // A}, {k % A}, :]"
    csr.data = validate.canonical_rows(csr.data, csr.indptr, where, flush=flush, out=csr.data)
    csr.eliminate_zeros()
    # of 64 bits, so that `rows` are these arrays; compiled sweeps are also faster by them
    csr.indices, csr.indptr = csr.indices.astype(np.int64, copy=False), csr.indptr.astype(np.int64, copy=False)
    for part in (csr.data, csr.indices, csr.indptr):
        part.flags.writeable = False
    return csr


def check_size(name: str, value: int, entries: int) -> None:
    """Refuse sizes whose dense kernel would not fit a small exact world."""
    if entries > LARGEST:
        raise MdpkitError(name, f"small enough for {LARGEST} entries of P", value, came=f"P would have {entries}")
