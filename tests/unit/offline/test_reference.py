"""The reference sketch: every value counted once, in bins that hold enough of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.reference import ReferenceSketch
from offline.reference import BINS, LEAST, reference_sketch

shares = st.floats(0, 1, width=32)


@given(st.integers(0, 900), st.data())
def test_every_value_is_counted_once_in_a_full_bin(rows: int, data: st.DataObject) -> None:
    """Counts add up to the rows of their level, and no bin is too thin to compare, ties or not."""
    few = st.one_of(shares, st.sampled_from([0.0, 0.25, 1.0]))
    score = data.draw(hnp.arrays(np.float32, rows, elements=few))
    level = data.draw(hnp.arrays(np.int8, rows, elements=st.integers(1, 2)))
    sketch = reference_sketch(score, level, score[:3], level[:3])
    for number, histogram in sketch.score.items():
        values = score[level == number]
        assert histogram.total == len(values)
        found = np.bincount(histogram.bins(values), minlength=len(histogram.counts))
        assert found.tolist() == list(histogram.counts)
        assert len(histogram.counts) <= BINS
        if histogram.edges:
            assert min(histogram.counts) >= LEAST
    assert ReferenceSketch.from_json(sketch.to_json()) == sketch


def test_bins_are_even_whatever_the_scale() -> None:
    """Conversion rates around 0.1 % fill ten even bins, as any other scores would."""
    score = np.random.default_rng(0).lognormal(-7, 1, 5000).astype(np.float32)
    level = np.full(5000, 3, np.int8)
    sketch = reference_sketch(score, level, score, level)
    assert sketch.score[3].counts == (500,) * BINS
    assert sketch.score[1].counts == (0,)
    assert sketch.score[1].mean is None


def test_noise_of_the_last_digit_moves_no_value() -> None:
    """Another build's rounding leaves every count as it was."""
    score = np.linspace(0.1, 0.9, 1000).astype(np.float32)
    level = np.ones(1000, np.int8)
    histogram = reference_sketch(score, level, score, level).score[1]
    for sign in (-1, 1):
        moved = np.bincount(histogram.bins(score * np.float32(1 + sign * 1e-6)))
        assert tuple(moved.tolist()) == histogram.counts
