"""The reference sketch: every row counted once, in the bin it belongs to."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from offline.reference import reference_sketch

shares = st.floats(0, 1, width=32)


@given(st.integers(0, 60), st.data())
def test_every_row_is_counted_once(rows: int, data: st.DataObject) -> None:
    """Counts by level add up to the rows of that level, in one bin more than there are edges."""
    score = data.draw(hnp.arrays(np.float32, rows, elements=shares))
    alpha = data.draw(hnp.arrays(np.float32, rows, elements=shares))
    level = data.draw(hnp.arrays(np.int8, rows, elements=st.integers(1, 5)))
    sketch = json.loads(reference_sketch(score, alpha, level))
    for name in ("score", "alpha_fusion"):
        edges, counts = sketch[name]["edges"], sketch[name]["counts"]
        assert sorted(set(edges)) == edges
        for number in range(1, 6):
            assert len(counts[str(number)]) == len(edges) + 1
            assert sum(counts[str(number)]) == np.count_nonzero(level == number)


def test_bins_hold_what_lies_between_their_edges() -> None:
    """Bin n holds values from edge n - 1 up to, not including, edge n."""
    alpha = np.array([0.0, 0.04, 0.06, 0.25, 1.0], np.float32)
    level = np.full(5, 2, np.int8)
    counts = json.loads(reference_sketch(alpha, alpha, level))["alpha_fusion"]["counts"]["2"]
    assert [(n, count) for n, count in enumerate(counts) if count] == [
        (0, 2),
        (1, 1),
        (5, 1),
        (19, 1),
    ]


def test_small_scores_are_told_apart() -> None:
    """Conversion rates of 0.1 % and 0.2 % fall into different bins."""
    level = np.ones(1, np.int8)
    low, high = (
        json.loads(reference_sketch(np.array([s], np.float32), np.zeros(1, np.float32), level))
        for s in (0.001, 0.002)
    )
    assert low["score"]["counts"] != high["score"]["counts"]
