"""mdpkit: exact small worlds, certified answers, and the papers' algorithms held to their claims.

The names below load on first use, so that ``import mdpkit`` costs no more than numpy. Inside the house they are
imported from the modules that define them.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np  # noqa: F401  # the one package that everything here needs

__version__ = "0.1.0"

_HOMES = {
    "mdpkit.models.tabular": ("TabularMDP", "EpisodicMDP"),
    "mdpkit.models.linear": ("LinearMDP", "LinearMixtureMDP"),
    "mdpkit.models.latent": ("LatentMDP", "RichMDP"),
    "mdpkit.models.bandits": ("Bandit", "LinearBandit", "ContextualBandit"),
    "mdpkit.models.cascading": ("CascadingMDP",),
    "mdpkit.models.dynamical": ("DynamicalBandit",),
    "mdpkit.models.games": ("MarkovGame",),
    "mdpkit.models.preferences": ("PreferenceModel",),
    "mdpkit.models.tokens": ("TokenModel",),
    "mdpkit.models.convert": ("to_episodic",),
    "mdpkit.models.record": ("load", "save"),
    "mdpkit.access": ("Exact", "Generative", "Episodes", "Stream", "Reset", "Comparisons"),
    "mdpkit.records": ("Dataset", "StateOnlyDataset", "Steps", "Pairs", "Segments", "Atoms", "Paper", "Result",
                       "Trace"),
    "mdpkit.data": ("collect", "draw_tuples", "draw_states", "compare"),
    "mdpkit.errors": ("MdpkitError", "NotCertified", "AccessDenied", "CoverageError", "MissingPackage"),
    "mdpkit.jit": ("kernel",),
    "mdpkit.iterate": ("iterate",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [*_HOME_OF]  # noqa: PLE0604  # names that load on first use


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'mdpkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
