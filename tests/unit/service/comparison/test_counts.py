"""Counts of a comparison: they add up, survive JSON, and give the figures that people read."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.comparison.counts import (
    DIFFERENCE_EDGES,
    ComparisonReport,
    ComparisonTally,
    LevelCounts,
    summed,
    total,
)
from service.comparison.differences import Difference, difference
from service.comparison.metrics import comparison_exposition
from service.comparison.summary import summary
from service.lifecycle.states import TargetState

differences = st.builds(
    lambda seed, size: difference(*_pair(seed, size)), st.integers(0, 99), st.integers(1, 30)
)


def _pair(seed: int, size: int) -> "tuple[tuple[np.ndarray, np.ndarray], ...]":
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (2, size)).astype(np.float32)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return (logits[0], scores[0]), (logits[1], scores[1])


def _tally(found: "list[Difference]", level: int = 1) -> ComparisonTally:
    tally = ComparisonTally()
    for one in found:
        tally.compared(level, one, {"champion": 0.001, "challenger": 0.003})
    return tally


def _report(tally: ComparisonTally, challenger: str = "2/g") -> ComparisonReport:
    return ComparisonReport(
        challenger=challenger,
        champion="1/g",
        since_s=1.0,
        targets=(TargetState(version=1, generation="g", state="active"),),
        outcomes=dict(tally.outcomes),
        levels=dict(tally.levels),
        seconds={side: tuple(counts) for side, counts in tally.seconds.items()},
        seconds_sum=dict(tally.seconds_sum),
    )


@given(st.lists(differences, max_size=6), st.lists(differences, max_size=6))
def test_replicas_add_up(some: list[Difference], others: list[Difference]) -> None:
    """Two replicas tell together what one would have told that saw all requests."""
    together, apart = _report(_tally(some + others)), [_tally(some), _tally(others)]
    (found,) = summed(map(_report, apart))
    assert found.outcomes == together.outcomes
    assert found.seconds == together.seconds
    for level, counts in together.levels.items():
        pairs = zip(*map(msgspec.structs.astuple, (found.levels[level], counts)), strict=True)
        for one, other in pairs:
            assert one == pytest.approx(other)


@given(st.lists(differences, min_size=1, max_size=6))
def test_report_survives_json(some: list[Difference]) -> None:
    """What a sibling says is what the admin port reads."""
    report = _report(_tally(some))
    assert msgspec.convert(json.loads(msgspec.json.encode(report)), ComparisonReport) == report


@given(st.lists(differences, min_size=1, max_size=8))
def test_summary_agrees_with_the_differences(some: list[Difference]) -> None:
    """Means are exact, and quantiles lie where the values do, to a bin."""
    figures = summary(_report(_tally(some)))["levels"]["1"]
    scores = np.concatenate([one.scores for one in some])
    assert figures["answers"] == len(some)
    assert figures["difference"]["mean"] == pytest.approx(float(scores.mean()))
    assert figures["absolute"]["mean"] == pytest.approx(float(np.abs(scores).mean()))
    assert figures["first_differs"] == np.mean([one.first_differs for one in some])
    edges = np.array([edge for edge in DIFFERENCE_EDGES if edge > 0])
    exact = float(np.quantile(np.abs(scores), 0.95, method="inverted_cdf"))
    place = min(int(np.searchsorted(edges, exact)), len(edges) - 1)
    assert figures["absolute"]["p95"] == pytest.approx(float(edges[place]))


def test_all_levels_are_one_line_more() -> None:
    """The overall line is made of the levels, and empty levels are left out."""
    tally = _tally([difference(*_pair(1, 12))], level=1)
    tally.compared(5, difference(*_pair(2, 12)), {"champion": 0.001, "challenger": 0.003})
    told = summary(_report(tally))
    assert list(told["levels"]) == ["1", "5", "all"]
    assert told["levels"]["all"]["answers"] == 2
    assert told["latency"]["champion"]["p50_ms"] <= told["latency"]["challenger"]["p50_ms"]


def test_pairs_are_never_mixed() -> None:
    """A replica that still compares the pair of before is told apart."""
    reports = [_report(_tally([]), "2/g"), _report(_tally([]), "3/g"), _report(_tally([]), "2/g")]
    assert [one.challenger for one in summed(reports)] == ["2/g", "3/g"]


def test_nothing_compared_is_no_figure() -> None:
    """Before the first sample there is nothing to read, and no division by nothing."""
    told = summary(_report(ComparisonTally()))
    assert told["levels"] == {}
    assert told["latency"]["champion"] == {"p50_ms": None, "p99_ms": None}
    assert total([]) == LevelCounts()


@given(st.lists(differences, max_size=4))
def test_exposition_is_prometheus_and_bounded(some: list[Difference]) -> None:
    """Every series is one that Prometheus reads, whatever was compared, and they stay few."""
    text = comparison_exposition(_report(_tally(some)))
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert len(families) == 8
    assert len(text.splitlines()) < 400
    shifts = families["choirrec_comparison_score_difference"].samples
    counted = sum(s.value for s in shifts if s.name.endswith("_count"))
    assert counted == sum(len(one.scores) for one in some)
    ready = families["choirrec_comparison_ready"].samples
    assert ready[0].value == 0  # the challenger is not there
