"""Profiles for hypothesis, and the seconds that each paper's tests cost: compiling apart from running."""

import gc
from collections import defaultdict

import hypothesis
import numba.core.event as events
import pytest

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("fixed")

COMPILE_SHARE, RUN_SHARE = 4.0, 6.0      # seconds on one core that a paper may cost
COMPILED = pytest.StashKey()


def pytest_collection_finish():
    """What was imported stays: the collector, which took a fourteenth of the time, need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    item.stash[COMPILED] = []
    with events.install_timer("numba:compile", item.stash[COMPILED].append):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call" and "papers" in item.path.parts:
        report.user_properties = [("compiling", sum(item.stash[COMPILED]))]
    return report


def pytest_terminal_summary(terminalreporter):
    costs = defaultdict(lambda: [0.0, 0.0])
    for reports in terminalreporter.stats.values():
        for report in reports:
            spent = dict(getattr(report, "user_properties", ())).get("compiling")
            if spent is not None and report.when == "call":
                slug = report.nodeid.split("::")[0].rsplit("test_", 1)[-1].removesuffix(".py").replace("_", "-")
                costs[slug][0] += spent
                costs[slug][1] += report.duration - spent
    if costs:
        terminalreporter.section(f"seconds a paper (share: {COMPILE_SHARE:g} compiling, {RUN_SHARE:g} running)")
        for slug, (compiling, running) in sorted(costs.items()):
            terminalreporter.line(f"{slug:<24} compiling {compiling:6.1f}   running {running:6.1f}")
