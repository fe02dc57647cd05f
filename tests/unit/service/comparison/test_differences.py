"""What differs between two answers to one request."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from service.comparison.differences import difference, rank_correlation

few_values = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0])
logits = hnp.arrays(np.float32, st.integers(1, 40), elements=few_values)


def _side(logits: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    return logits, (1 / (1 + np.exp(-logits))).astype(np.float32)


@given(st.data())
def test_rank_correlation_is_spearmans(data: st.DataObject) -> None:
    """Ties and all, it is the figure that statisticians know by this name."""
    one = data.draw(logits)
    other = data.draw(hnp.arrays(np.float32, len(one), elements=few_values))
    found = rank_correlation(one, other)
    if len(set(one.tolist())) == 1 or len(set(other.tolist())) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)


@given(logits)
def test_answer_does_not_differ_from_itself(column: "np.ndarray") -> None:
    """Two equal versions differ in nothing, ties or not."""
    found = difference(_side(column), _side(column))
    assert not found.differs
    assert not found.first_differs
    assert found.ten_differ == (0.0 if len(column) > 10 else None)
    assert found.rank_correlation in (None, pytest.approx(1.0))


def test_reversed_ranking_is_told_in_every_figure() -> None:
    """Another first, other ten, and a correlation of minus one."""
    column = np.arange(20, dtype=np.float32)
    found = difference(_side(column), _side(column[::-1].copy()))
    assert found.differs
    assert found.first_differs
    assert found.ten_differ == 1.0
    assert found.rank_correlation == pytest.approx(-1.0)


def test_difference_is_challenger_minus_champion() -> None:
    """A challenger that promises more has a difference above 0."""
    low, high = np.array([0.0], np.float32), np.array([1.0], np.float32)
    assert difference(_side(low), _side(high)).scores[0] == pytest.approx(0.231, abs=1e-3)


def test_rounding_is_no_difference() -> None:
    """Two machines with one model agree."""
    column = np.array([0.3, 0.1], np.float32)
    assert not difference(_side(column), _side(column + np.float32(1e-6))).differs
