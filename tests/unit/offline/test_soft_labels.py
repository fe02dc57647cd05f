"""Soft-label GAUC, against a slow and plain count of pairs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.soft_labels import soft_aucs, soft_gauc

rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0])),
    min_size=1,
    max_size=24,
)


def counted(score: list[int], probability: list[float]) -> float:
    """One user's AUC, pair by pair."""
    right = pairs = 0.0
    for first, bought in enumerate(probability):
        for second, other in enumerate(probability):
            if first != second:
                weight = bought * (1 - other)
                pairs += weight
                right += weight * (
                    (score[first] > score[second]) + (score[first] == score[second]) / 2
                )
    return right / pairs if pairs > 1e-9 else math.nan


@given(rows)
def test_every_pair_counts_by_its_chance(drawn: list[tuple[int, int, float]]) -> None:
    """The fast sum over sorted rows equals the plain sum over pairs, ties and all."""
    users, scores, probabilities = (list(column) for column in zip(*drawn, strict=True))
    auc, n = soft_aucs(np.array(scores), np.array(probabilities), np.array(users))
    for place, user in enumerate(sorted(set(users))):
        own = [row for row, other in enumerate(users) if other == user]
        expected = counted([scores[row] for row in own], [probabilities[row] for row in own])
        assert n[place] == len(own)
        assert auc[place] == pytest.approx(expected, nan_ok=True, abs=1e-9)


def test_no_score_beats_the_truth() -> None:
    """Ordering by the true probabilities themselves is the ceiling."""
    rng = np.random.default_rng(0)
    user, probability = np.repeat(np.arange(50), 16), rng.random(800)
    ceiling = soft_gauc(probability, probability, user)
    assert ceiling > soft_gauc(probability + 0.1 * rng.random(800), probability, user)
    assert soft_gauc(np.zeros(800), probability, user) == pytest.approx(0.5)


def test_users_count_by_their_rows_and_those_without_pairs_not_at_all() -> None:
    """Three rows weigh more than two; a user who buys everything, or is alone, says nothing."""
    user = np.array([0, 0, 1, 1, 1, 2, 2, 3])
    score = np.array([1, 0, 0, 1, 1, 0, 1, 1])
    bought = np.array([1, 0, 1, 0, 0, 1, 1, 0])
    assert soft_gauc(score, bought, user) == pytest.approx((2 * 1 + 3 * 0) / 5)
    assert math.isnan(soft_gauc(score[5:], bought[5:], user[5:]))
