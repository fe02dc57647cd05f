"""Metrics: exact, and equal to what anyone would compute by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from offline.evaluation import (
    UserAucs,
    auc,
    evaluate,
    gauc,
    gauc_difference,
    gauc_low,
    user_aucs,
)
from tests.synthetic import world

SPLIT = world(rows=400).split
LOGIT = np.random.default_rng(5).normal(size=400).astype(np.float32)

rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(-3, 3), st.booleans()), min_size=1, max_size=40
)


def columns(
    drawn: list[tuple[int, int, bool]],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Users, scores with many ties, and labels."""
    users, scores, labels = zip(*drawn, strict=True)
    return np.array(users), np.array(scores, float), np.array(labels, float)


def brute_force(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Pairs in order over pairs, ties one half, by two loops."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    if not len(positives) or not len(negatives):
        return math.nan
    wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    return float(wins / (len(positives) * len(negatives)))


@given(drawn=rows)
def test_auc_counts_pairs_with_ties_as_halves(drawn: list[tuple[int, int, bool]]) -> None:
    """AUC equals counting all pairs, and scikit-learn where that is defined."""
    _, scores, labels = columns(drawn)
    found, expected = auc(scores, labels), brute_force(scores, labels)
    np.testing.assert_allclose(found, expected, atol=1e-12, equal_nan=True)
    if not math.isnan(expected):
        assert abs(found - roc_auc_score(labels, scores)) <= 1e-12


@given(drawn=rows)
def test_gauc_equals_a_loop_over_users(drawn: list[tuple[int, int, bool]]) -> None:
    """Both means over users equal the loop's, users of one class left out of both."""
    users, scores, labels = columns(drawn)
    found = user_aucs(scores, labels, users)
    by_hand = {user: brute_force(scores[users == user], labels[users == user]) for user in users}
    np.testing.assert_allclose(found.auc, [by_hand[user] for user in found.users], atol=1e-12)
    both = {user: value for user, value in by_hand.items() if not math.isnan(value)}
    if not both:
        assert math.isnan(gauc(found))
        return
    weight = {user: (users == user).sum() for user in both}
    weighted = sum(weight[user] * both[user] for user in both) / sum(weight.values())
    assert abs(gauc(found) - weighted) <= 1e-12
    assert abs(gauc(found, weighted=False) - np.mean(list(both.values()))) <= 1e-12


def test_each_slice_is_measured_on_its_own_rows() -> None:
    """Low, overall and every level equal the metrics of just those rows."""
    metrics = evaluate(LOGIT, SPLIT)
    parts = [(metrics.low, SPLIT.row_low), (metrics.overall, np.ones(400, bool))]
    parts += [
        (level, SPLIT.row_level == number) for number, level in enumerate(metrics.levels, start=1)
    ]
    assert len(metrics.levels) == 5
    for found, mask in parts:
        probability = 1 / (1 + np.exp(-LOGIT[mask].astype(np.float64)))
        label = SPLIT.label[mask].astype(np.float64)
        assert abs(found.auc - roc_auc_score(label, LOGIT[mask])) <= 1e-12
        assert abs(found.logloss - log_loss(label, probability)) <= 1e-9
        assert abs(found.pcoc - probability.mean() / label.mean()) <= 1e-9
        assert found.rows == mask.sum()
        assert found.users == len(np.unique(SPLIT.row_user[mask]))
    assert gauc_low(LOGIT, SPLIT) == metrics.low.gauc


def test_one_class_users_are_counted() -> None:
    """Users without both classes are reported, not silently dropped."""
    users, labels = np.array([1, 1, 2, 2, 3]), np.array([0, 1, 0, 0, 1], np.float32)
    split = replace(world(rows=5).split, row_user=users, label=labels)
    overall = evaluate(np.zeros(5, np.float32), split).overall
    assert (overall.users, overall.one_class_users) == (3, 2)
    assert overall.gauc == 0.5


def test_json_names_every_metric_and_holds_no_nan() -> None:
    """The flat names are the documented ones; what is not defined is null."""
    split = replace(SPLIT, row_low=np.zeros(400, bool))
    written = json.loads(evaluate(LOGIT, split).to_json())
    for name in ("auc", "gauc", "gauc_unweighted", "logloss", "pcoc", "one_class_users"):
        assert {f"{name}_low", f"{name}_overall", f"{name}_levels"} <= set(written)
    assert written["gauc_low"] is None
    assert written["alpha_fusion_overall"] is None
    assert len(written["gauc_levels"]) == 5


def test_alpha_fusion_is_averaged_by_level() -> None:
    """Trust in the group channel is reported per level, as the paper does."""
    alpha = SPLIT.row_level.astype(np.float32) / 10
    levels = evaluate(LOGIT, SPLIT, alpha).levels
    np.testing.assert_allclose([level.alpha_fusion for level in levels], np.arange(1, 6) / 10)


def test_extreme_logits_stay_finite() -> None:
    """Logits of +-1000 give a finite log loss and calibration."""
    logit = np.where(SPLIT.label > 0, 1000, -1000).astype(np.float32)
    overall = evaluate(logit, SPLIT).overall
    assert (overall.auc, overall.logloss, overall.pcoc) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("logit", "message"),
    [(LOGIT[:-1], "one per row"), (np.where(np.arange(400) == 7, np.nan, LOGIT), "NaN")],
)
def test_logits_that_do_not_fit_are_refused(logit: NDArray[np.float32], message: str) -> None:
    """Missing or undefined logits are an error, never a metric."""
    with pytest.raises(ValueError, match=message):
        evaluate(logit, SPLIT)


def test_bootstrap_of_a_model_with_itself_is_zero() -> None:
    """No difference has no interval."""
    users = user_aucs(LOGIT, SPLIT.label, SPLIT.row_user)
    found = gauc_difference(users, users, seed=1)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_bootstrap_interval_covers_the_spread_over_users() -> None:
    """The interval of a mean over users matches the normal approximation, and repeats by seed."""
    rng = np.random.default_rng(3)
    gains = rng.normal(0.02, 0.1, 900)
    second = UserAucs(np.arange(900), np.full(900, 0.6), np.ones(900, np.int64))
    first = replace(second, auc=0.6 + gains)
    found = gauc_difference(first, second, seed=1)
    half = 1.96 * gains.std() / 30
    assert abs(found.mean - gains.mean()) <= 1e-12
    np.testing.assert_allclose(
        [found.low, found.high], [found.mean - half, found.mean + half], atol=0.001
    )
    assert gauc_difference(first, second, seed=1) == found


def test_bootstrap_refuses_other_rows() -> None:
    """Two models measured on different rows cannot be paired."""
    first = user_aucs(LOGIT, SPLIT.label, SPLIT.row_user)
    second = user_aucs(LOGIT[:300], SPLIT.label[:300], SPLIT.row_user[:300])
    with pytest.raises(ValueError, match="same split"):
        gauc_difference(first, second, seed=1)
