"""What a learner is let to know and do."""

from __future__ import annotations

import numpy as np
import pytest
from core.small_worlds import (
    BANDIT,
    CONTEXTUAL,
    EPISODIC,
    GAME,
    LATENT,
    LINBANDIT,
    LINEAR,
    MIXTURE,
    PREFERENCES,
    RICH,
    TABULAR,
    TOKENS,
    A,
    H,
    S,
    seeded,
)
from numba.core.errors import TypingError

from mdpkit.access import Comparisons, Episodes, Exact, Generative, Reset, Stream
from mdpkit.errors import AccessDenied
from mdpkit.models.bandits import Bandit, ContextualBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel
from mdpkit.worlds import bandits, games, hidden, markov, preferences

ACCESSES = {
    "Generative": lambda: Generative(EPISODIC, seeded(0)),
    "Episodes of a tabular": lambda: Episodes(TABULAR, seeded(0)),
    "Episodes of an episodic": lambda: Episodes(EPISODIC, seeded(0)),
    "Episodes of tokens": lambda: Episodes(TOKENS, seeded(0)),
    "Stream": lambda: Stream(TABULAR, seeded(0)),
    "Reset": lambda: Reset(EPISODIC, seeded(0)),
    "Episodes of a bandit": lambda: Episodes(BANDIT, seeded(0)),
    "Episodes of a contextual bandit": lambda: Episodes(CONTEXTUAL, seeded(0)),
    "Episodes of a game": lambda: Episodes(GAME, seeded(0)),
    "Episodes of a latent": lambda: Episodes(LATENT, seeded(0)),
    "Episodes with hindsight": lambda: Episodes(LATENT, seeded(0), hindsight=True),
    "Episodes of a rich": lambda: Episodes(RICH, seeded(0)),
    "Comparisons": lambda: Comparisons(PREFERENCES, seeded(0)),
}

# --- verbs

VERBS = {
    "markov.start": (markov.start,), "markov.step": (markov.step, 0), "markov.reset": (markov.reset, 0, 0),
    "markov.ask": (markov.ask, 0, 0, 0),
    "hidden.start": (hidden.start,), "hidden.step": (hidden.step, 0), "hidden.reveal": (hidden.reveal,),
    "games.start": (games.start,), "games.step": (games.step, np.zeros(2, np.int64)),
    "bandits.start": (bandits.start,), "bandits.step": (bandits.step, 0),
    "preferences.start": (preferences.start,), "preferences.ask": (preferences.ask, 0, 0, 0),
}
GRANTS = {
    "Generative": {"markov.ask"},
    "Episodes of a tabular": {"markov.start", "markov.step"},
    "Episodes of an episodic": {"markov.start", "markov.step"},
    "Episodes of tokens": {"markov.start", "markov.step"},
    "Stream": {"markov.start", "markov.step"},
    "Reset": {"markov.start", "markov.step", "markov.reset"},
    "Episodes of a bandit": {"bandits.start", "bandits.step"},
    "Episodes of a contextual bandit": {"bandits.start", "bandits.step"},
    "Episodes of a game": {"games.start", "games.step"},
    "Episodes of a latent": {"hidden.start", "hidden.step"},
    "Episodes with hindsight": {"hidden.start", "hidden.step", "hidden.reveal"},
    "Episodes of a rich": {"hidden.start", "hidden.step"},
    "Comparisons": {"preferences.start", "preferences.ask"},
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ACCESSES)
def test_only_granted_verbs_compile(name, verb):
    access, (function, *args) = ACCESSES[name](), VERBS[verb]
    compiled = len(function.signatures)
    if verb in GRANTS[name]:
        try:
            access.call(function, *args)
        except AccessDenied as e:
            assert "obedient to the rules of the world" in str(e)        # it compiles, and keeps the rules
        return
    with pytest.raises((AccessDenied, TypingError)) as caught:
        access.call(function, *args)
    assert "obedient" not in str(caught.value)
    assert len(function.signatures) == compiled


@pytest.mark.parametrize(("name", "verb", "says"), [
    ("Generative", "markov.start", "start"), ("Generative", "markov.step", "step"),
    ("Generative", "markov.reset", "reset"), ("Episodes of an episodic", "markov.ask", "ask"),
    ("Episodes of an episodic", "markov.reset", "reset"), ("Stream", "markov.ask", "ask"),
    ("Stream", "markov.reset", "reset"), ("Reset", "markov.ask", "ask"),
    ("Episodes of a latent", "hidden.reveal", "reveal"), ("Episodes of a rich", "hidden.reveal", "reveal"),
])
def test_a_denial_names_the_verb_and_the_access(name, verb, says):
    access, (function, *args) = ACCESSES[name](), VERBS[verb]
    wanted = f"content with what {type(access).__name__} access grants; it calls `{says}`, which it does not"
    with pytest.raises(AccessDenied, match=wanted):
        access.call(function, *args)


def test_a_verb_of_another_kind_of_world_is_denied_too():
    with pytest.raises(AccessDenied):
        Stream(TABULAR, seeded(0)).call(bandits.step, 0)


# --- known

def test_sizes_are_always_known():
    known = Episodes(EPISODIC, seeded(0)).known
    assert (known.S, known.A, known.H) == (S, A, H) and repr(known) == "Known(A, H, S)"
    assert Stream(TABULAR, seeded(0)).known.gamma == 0.9
    assert Episodes(GAME, seeded(0)).known.A == (2, 3)
    assert (Episodes(LATENT, seeded(0)).known.M, Episodes(RICH, seeded(0)).known.X) == (2, 5)


@pytest.mark.parametrize(("access", "field"), [
    (lambda: Episodes(LINEAR, seeded(0)), "phi"), (lambda: Generative(LINEAR, seeded(0)), "phi"),
    (lambda: Episodes(MIXTURE, seeded(0)), "base"), (lambda: Episodes(LINBANDIT, seeded(0)), "x"),
    (lambda: Comparisons(PREFERENCES, seeded(0)), "pi_ref"), (lambda: Comparisons(PREFERENCES, seeded(0)), "beta"),
    (lambda: Comparisons(TOKENS, seeded(0)), "pi_ref"), (lambda: Episodes(TOKENS, seeded(0)), "rho"),
])
def test_features_are_known_where_the_model_is_about_them(access, field):
    assert getattr(access().known, field) is not None


@pytest.mark.parametrize("field", ["P", "r", "rho", "noise", "model", "anything"])
def test_the_rest_is_denied(field):
    with pytest.raises(AccessDenied, match=rf"known\.{field} must be granted \(A, H, S are\); it is not "
                                           rf"\(pass grant=\('{field}',\) if the theorem grants it\)"):
        getattr(Episodes(EPISODIC, seeded(0)).known, field)


def test_grants_and_bounds():
    known = Episodes(EPISODIC, seeded(0), grant=("r", "rho"), bounds={"W": 2.0}).known
    assert known.r is EPISODIC.r and known.rho is EPISODIC.rho and known.W == 2.0
    with pytest.raises(AccessDenied):
        _ = known.P


def test_exact_shows_the_model_and_plays_nothing():
    access = Exact(EPISODIC)
    assert access.model is EPISODIC and access.known.S == S and repr(access).startswith("Exact(EpisodicMDP(")
    assert not hasattr(access, "drive") and not hasattr(access, "call")


@pytest.mark.parametrize("name", ACCESSES)
def test_no_public_attribute_shows_the_model(name):
    access = ACCESSES[name]()
    public = [getattr(access, k) for k in dir(access) if not k.startswith("_")]
    models = (TabularMDP, EpisodicMDP, LinearMDP, LatentMDP, RichMDP, Bandit, ContextualBandit, MarkovGame,
              PreferenceModel, TokenModel)
    assert not any(isinstance(value, models) for value in public)
