"""Guards of a canary: silent where nothing differs, loud where a fault was planted."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from model.reference import LEVELS, Histogram, ReferenceSketch
from service.control.guards import (
    Alarm,
    Limits,
    judge_alpha,
    judge_drift,
    judge_errors,
    judge_latency,
)
from service.control.statistics import (
    CHANCE,
    excess_chance,
    population_stability,
    quantile,
    stability_by_chance,
)
from service.lifecycle.states import RoleCounts
from tests.guards import ALPHA_MEANS, GOOD, Behaviour, sketch, window

LIMITS = Limits()
CALLS, ANSWERS = 800, 250
WINDOWS = 1_000


def _alarms(
    canary: RoleCounts, champion: RoleCounts, reference: ReferenceSketch
) -> Sequence[Alarm]:
    sides = (canary, reference), (champion, reference)
    found = [
        judge_errors(canary, champion, LIMITS),
        judge_latency(canary, champion, LIMITS),
        judge_alpha(canary, champion, reference, LIMITS),
        *(judge_drift(level, *sides, LIMITS) for level in range(1, LEVELS + 1)),
    ]
    return [alarm for alarm in found if alarm is not None]


def _tried(behaviour: Behaviour, windows: int, seed: int) -> list[Sequence[Alarm]]:
    """Alarms of windows in which a good champion answers ten times as much as the canary."""
    rng = np.random.default_rng(seed)
    reference = sketch(rng)
    return [
        _alarms(
            window(rng, behaviour, reference, CALLS, ANSWERS),
            window(rng, GOOD, reference, 10 * CALLS, 4 * ANSWERS),
            reference,
        )
        for _ in range(windows)
    ]


@pytest.mark.parametrize("users", [60, 10_000])
def test_good_canary_is_left_alone(users: int) -> None:
    """Of 1,000 windows of a good canary at most one is called bad, few users or many."""
    found = _tried(GOOD.altered(users=users), WINDOWS, users)
    assert sum(map(bool, found)) <= 1, [alarms for alarms in found if alarms][:3]


FAULTS = {
    "errors": GOOD.altered(error_rate=0.03),
    "latency": GOOD.altered(latency_s=0.012),
    "drift at every level": GOOD.altered(shift=dict.fromkeys(ALPHA_MEANS, 1.5)),
    "drift of low activity alone": GOOD.altered(shift={1: -1.5}),
    "alpha inverted": GOOD.altered(alpha={1: 0.3, 2: 0.4, 3: 0.45, 4: 0.5, 5: 0.6}),
    "alpha lost for low activity alone": GOOD.altered(alpha={**ALPHA_MEANS, 1: 0.1, 2: 0.15}),
    "alpha the same for all": GOOD.altered(
        alpha=dict.fromkeys(ALPHA_MEANS, 0.45), alpha_spread=0.0
    ),
    "alpha gone": GOOD.altered(alpha=dict.fromkeys(ALPHA_MEANS, 0.0), alpha_spread=0.0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught_within_three_windows(fault: str) -> None:
    """Whatever was broken is found at once, and named by its kind."""
    kind = fault.split(" ", maxsplit=1)[0]
    for seed in range(20):
        found = [alarm for alarms in _tried(FAULTS[fault], 3, seed) for alarm in alarms]
        assert any(alarm.kind == kind for alarm in found), seed


def test_drift_names_the_level_and_its_numbers() -> None:
    """The audit log can be read without the metrics of that day."""
    (alarms,) = _tried(FAULTS["drift of low activity alone"], 1, 0)
    (alarm,) = alarms
    assert alarm.evidence["activity_level"] == 1
    assert set(alarm.evidence["answers"]) == {"canary", "champion"}
    assert sum(alarm.evidence["bins"]["canary"]) == 20 * ANSWERS
    assert "activity level 1" in alarm.reason


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_both_is_not_the_canarys(fault: str) -> None:
    """What the champion does as well is no reason to roll the canary back."""
    rng = np.random.default_rng(1)
    reference = sketch(rng)
    canary = window(rng, FAULTS[fault], reference, CALLS, ANSWERS)
    champion = window(rng, FAULTS[fault], reference, 10 * CALLS, 4 * ANSWERS)
    assert not _alarms(canary, champion, reference)


@pytest.mark.parametrize("fault", FAULTS)
def test_too_few_answers_are_not_judged(fault: str) -> None:
    """Nobody is rolled back for a handful of answers."""
    rng = np.random.default_rng(2)
    reference = sketch(rng)
    few = window(rng, FAULTS[fault], reference, LIMITS.calls - 1, LIMITS.answers - 1)
    assert not _alarms(few, window(rng, GOOD, reference, 5000, 1000), reference)


def test_champion_without_traffic_judges_nobody() -> None:
    """A canary for everybody has nothing to be compared with."""
    rng = np.random.default_rng(3)
    reference = sketch(rng)
    canary = window(rng, FAULTS["errors"], reference, CALLS, ANSWERS)
    assert not _alarms(canary, RoleCounts(), reference)


def test_sketch_without_bins_is_not_judged() -> None:
    """A level that had too few test rows has no shape to drift from."""
    rng = np.random.default_rng(4)
    single = {level: Histogram((), (9,), 0.1) for level in range(1, LEVELS + 1)}
    reference = ReferenceSketch(single, single)
    canary = window(rng, GOOD, reference, CALLS, ANSWERS)
    assert judge_drift(1, (canary, reference), (canary, reference), LIMITS) is None


@given(st.integers(0, 60), st.integers(1, 2_000), st.integers(0, 300), st.integers(1, 20_000))
def test_excess_is_the_binomial_tail(
    canary: int, canary_of: int, champion: int, champion_of: int
) -> None:
    """The chance is the exact one, however few the events."""
    share = canary_of / (canary_of + champion_of)
    expected = stats.binom.sf(canary - 1, canary + champion, share)
    found = excess_chance(canary, canary_of, champion, champion_of)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-300)


@given(st.integers(2, 40))
def test_chance_of_stability_is_the_quantile_of_chi_squared(bins: int) -> None:
    """Two equal populations exceed the bound as seldom as it says."""
    bound = stability_by_chance(bins, 1_000, 4_000, 0.0)
    assert bound == pytest.approx(stats.chi2.isf(CHANCE, bins - 1) * 0.00125, rel=0.12)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30))
def test_stability_of_equal_shares_is_nothing(counts: list[int]) -> None:
    """A population is as it is."""
    assert population_stability(counts, counts) == 0.0


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0, 1))
def test_quantile_lies_within_its_bin(counts: list[int], share: float) -> None:
    """A p99 read from a histogram is never further off than the bin is wide."""
    edges = (0.1, 0.2, 0.5)
    found = quantile(counts, edges, share)
    if not sum(counts):
        assert found is None
        return
    assert found is not None
    values = np.repeat([0.05, 0.15, 0.35, 0.5], counts)
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    place = int(np.searchsorted(edges, exact))
    low, high = (0.0, *edges)[place], (*edges, 0.5)[place]
    assert low <= found <= high
