"""The tally of one target."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.reference import Histogram, ReferenceSketch
from service.lifecycle.tally import Tally
from service.metrics import LATENCY_EDGES_S

EDGES = {level: tuple(level * step / 20 for step in range(1, 4)) for level in range(1, 6)}
SIDE = {level: Histogram(edges, (0, 0, 0, 0), None) for level, edges in EDGES.items()}
REFERENCE = ReferenceSketch(SIDE, SIDE)
columns = hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 1, width=32))


@given(st.lists(st.tuples(columns, st.integers(1, 5)), max_size=8))
def test_scores_lie_in_the_bins_of_the_reference_sketch(
    answers: list[tuple["np.ndarray", int]],
) -> None:
    """What serving counts can be laid beside what training counted, bin by bin."""
    tally = Tally(REFERENCE)
    expected = {str(level): np.zeros(4, np.int64) for level in range(1, 6)}
    for scores, level in answers:
        tally.scored(scores, 0.5, level)
        bins = SIDE[level].bins(scores)
        expected[str(level)] += np.bincount(bins, minlength=4)
    found = tally.counts().score
    assert {level: list(counts) for level, counts in found.items()} == {
        level: counts.tolist() for level, counts in expected.items()
    }


def test_alpha_is_summed_by_level() -> None:
    """The guard sees the mean trust in the group by activity level."""
    tally = Tally(REFERENCE)
    for alpha, level in ((0.25, 1), (0.5, 1), (0.125, 5)):
        tally.scored(np.array([0.5], np.float32), alpha, level)
    alphas = tally.counts().alpha
    assert (alphas["1"], alphas["3"], alphas["5"]) == ((2, 0.75), (0, 0.0), (1, 0.125))


def test_unknown_levels_are_left_out() -> None:
    """A Redis that is gone does not look like a drift of the model."""
    tally = Tally(REFERENCE)
    tally.scored(np.array([0.5], np.float32), 0.5, None)
    counts = tally.counts()
    assert not any(sum(bins) for bins in counts.score.values())
    assert not any(number for number, _ in counts.alpha.values())


def test_errors_and_latencies_are_counted_per_call() -> None:
    """A batch counts as its calls, so that canary and champion can be compared."""
    tally = Tally(REFERENCE)
    tally.answered(0.0001, 3, failed=False)
    tally.answered(0.0002, 1, failed=True)
    tally.answered(9.0, 2, failed=False)
    counts = tally.counts()
    assert (counts.requests, counts.errors) == (6, 1)
    assert len(counts.latency) == len(LATENCY_EDGES_S) + 1
    assert (counts.latency[0], counts.latency[1], counts.latency[-1]) == (3, 1, 2)
    assert sum(counts.latency) == counts.requests
