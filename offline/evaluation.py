"""Evaluation: exact AUC, GAUC and calibration, overall, for low-activity users and by level."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.network.batch import Split

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

LEVELS = 5
REPLICATES = 1000
REPLICATES_AT_ONCE = 50


@dataclass(frozen=True, eq=False)
class UserAucs:
    """AUC of every user, in ascending order of user numbers."""

    users: Ints
    """int64 ``[U]`` user numbers."""
    auc: Doubles
    """float64 ``[U]``; NaN for a user whose rows have one class."""
    rows: Ints
    """int64 ``[U]`` rows per user: the weight in GAUC."""


@dataclass(frozen=True)
class SliceMetrics:
    """Metrics of one part of the rows; NaN where a metric is not defined."""

    auc: float
    """Area under the ROC curve over all rows, ties averaged."""
    gauc: float
    """Users' AUCs weighed by their rows, one-class users left out."""
    gauc_unweighted: float
    """Plain mean of the users' AUCs."""
    logloss: float
    """Mean negative log-likelihood in nats."""
    pcoc: float
    """Mean prediction over mean label; 1 = calibrated."""
    alpha_fusion: float
    """Mean trust in the group channel; NaN for a model without one."""
    rows: int
    """Rows."""
    users: int
    """Users with at least one row."""
    one_class_users: int
    """Users whose rows have one class: they do not count in GAUC."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of a model on a split."""

    low: SliceMetrics
    """Rows of low-activity users."""
    overall: SliceMetrics
    """All rows."""
    levels: tuple[SliceMetrics, ...]
    """Activity levels 1 (lowest) to 5."""

    def to_dict(self) -> dict[str, float | int | list[float | int | None] | None]:
        """Flat names: ``gauc_low``, ``gauc_overall``, ``gauc_levels`` and so on; NaN as null."""
        names = SliceMetrics.__dataclass_fields__
        flat: dict[str, float | int | list[float | int | None] | None] = {}
        for name in names:
            flat[f"{name}_low"] = _plain(getattr(self.low, name))
            flat[f"{name}_overall"] = _plain(getattr(self.overall, name))
            flat[f"{name}_levels"] = [_plain(getattr(level, name)) for level in self.levels]
        return flat

    def to_json(self) -> str:
        """``to_dict`` as JSON, keys sorted."""
        return json.dumps(self.to_dict(), sort_keys=True)


@dataclass(frozen=True)
class Difference:
    """A difference of two models with its bootstrap interval."""

    mean: float
    """GAUC of the first minus GAUC of the second."""
    low: float
    """2.5th percentile over the replicates."""
    high: float
    """97.5th percentile."""


def evaluate(logit: Floats, split: Split, alpha_fusion: Floats | None = None) -> Metrics:
    """Measure a model's logits on a split.

    Args:
        logit: ``[N]``.
        split: N rows with labels, users, levels.
        alpha_fusion: ``[N]`` of a model with two channels.

    Returns:
        Metrics for low-activity users, all users and each level.

    Raises:
        ValueError: when lengths differ or a logit is not finite.
    """
    if logit.shape != (len(split),):
        raise ValueError(f"{logit.shape} logits, expected ({len(split)},): one per row")
    if not np.isfinite(logit).all():
        raise ValueError("a logit is NaN or infinite: expected finite logits; train again")

    def part(mask: Mask) -> SliceMetrics:
        alpha = None if alpha_fusion is None else alpha_fusion[mask]
        return measure(logit[mask], split.label[mask], split.row_user[mask], alpha)

    return Metrics(
        low=part(split.row_low),
        overall=part(np.ones(len(split), bool)),
        levels=tuple(part(split.row_level == level) for level in range(1, LEVELS + 1)),
    )


def gauc_low(logit: Floats, split: Split) -> float:
    """GAUC of low-activity users: the one metric that selects (docs/evaluation.md).

    Args:
        logit: ``[N]``.
        split: N rows.

    Returns:
        GAUC weighed by rows; NaN when no low-activity user has both classes.
    """
    low = split.row_low
    return gauc(user_aucs(logit[low], split.label[low], split.row_user[low]))


def auc(score: Floats, label: Floats) -> float:
    """Exact AUC: the share of pairs in order, ties counting half.

    Args:
        score: ``[N]``; only its order counts.
        label: ``[N]`` of 0 and 1.

    Returns:
        AUC in [0, 1]; NaN with one class.
    """
    return float(_grouped_auc(score, label, np.zeros(len(score), np.int64), 1)[0])


def user_aucs(score: Floats, label: Floats, user: Ints) -> UserAucs:
    """AUC of every user, without a loop over users.

    Args:
        score: ``[N]``.
        label: ``[N]`` of 0 and 1.
        user: int64 ``[N]`` user numbers.

    Returns:
        One entry per user that has a row.
    """
    users, dense = np.unique(user, return_inverse=True)
    return UserAucs(
        users=users,
        auc=_grouped_auc(score, label, dense, len(users)),
        rows=np.bincount(dense, minlength=len(users)),
    )


def gauc(users: UserAucs, weighted: bool = True) -> float:
    """Mean of the users' AUCs over users with both classes.

    Args:
        users: AUCs and rows per user.
        weighted: by the users' rows (GAUC), or plainly.

    Returns:
        The mean; NaN without such a user.
    """
    both = np.isfinite(users.auc)
    if not both.any():
        return math.nan
    weights = users.rows[both] if weighted else None
    return float(np.average(users.auc[both], weights=weights))


def gauc_difference(first: UserAucs, second: UserAucs, seed: int) -> Difference:
    """Paired bootstrap over users of the difference of two models' GAUCs.

    Args:
        first: users' AUCs by the first model.
        second: the same users' AUCs by the second model on the same rows.
        seed: decides the replicates.

    Returns:
        The difference and its 95 % interval; NaN when no user has both classes.

    Raises:
        ValueError: when the two do not cover the same users and rows.
    """
    if not np.array_equal(first.users, second.users) or not np.array_equal(first.rows, second.rows):
        raise ValueError("the two models cover other users or rows: expected the same split")
    both = np.isfinite(first.auc)
    if not both.any():
        return Difference(math.nan, math.nan, math.nan)
    weights = first.rows[both].astype(np.float64)
    gains = weights * (first.auc[both] - second.auc[both])
    drawn = np.concatenate(
        [(counts @ gains) / (counts @ weights) for counts in _resamples(len(gains), seed)]
    )
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(float(gains.sum() / weights.sum()), float(low), float(high))


def _resamples(users: int, seed: int) -> Iterator[Ints]:
    """Counts ``[replicates, U]`` of draws with replacement, a few replicates at a time."""
    rng = np.random.default_rng(seed)
    chances = np.full(users, 1 / users)
    for _ in range(REPLICATES // REPLICATES_AT_ONCE):
        yield rng.multinomial(users, chances, size=REPLICATES_AT_ONCE)


def measure(logit: Floats, label: Floats, user: Ints, alpha: Floats | None) -> SliceMetrics:
    """Measure some rows.

    Args:
        logit: ``[N]``.
        label: ``[N]`` of 0 and 1.
        user: int64 ``[N]`` user numbers.
        alpha: ``[N]`` alpha_fusion; None for a model without.

    Returns:
        The metrics; NaN where one is not defined.
    """
    users = user_aucs(logit, label, user)
    scores = logit.astype(np.float64)
    return SliceMetrics(
        auc=auc(logit, label),
        gauc=gauc(users),
        gauc_unweighted=gauc(users, weighted=False),
        logloss=_mean(np.logaddexp(0.0, scores) - label * scores),
        pcoc=_ratio(_mean(np.exp(-np.logaddexp(0.0, -scores))), _mean(label)),
        alpha_fusion=math.nan if alpha is None else _mean(alpha),
        rows=len(label),
        users=len(users.users),
        one_class_users=int(np.isnan(users.auc).sum()),
    )


def _grouped_auc(score: Floats, label: Floats, group: Ints, groups: int) -> Doubles:
    """AUC within each group by ranks, ties averaged; NaN for groups of one class."""
    order = np.lexsort((score, group))
    score, label, group = score[order], label[order].astype(np.float64), group[order]
    sizes = np.bincount(group, minlength=groups)
    rank = _ranks(score, group) - (np.cumsum(sizes) - sizes)[group]
    positives = np.bincount(group, label, minlength=groups)
    ranks = np.bincount(group, rank * label, minlength=groups)
    pairs = positives * (sizes - positives)
    wins = ranks - positives * (positives + 1) / 2
    result: Doubles = np.divide(wins, pairs, out=np.full(groups, np.nan), where=pairs > 0)
    return result


def _ranks(score: Floats, group: Ints) -> Doubles:
    """Ranks from 1 of rows sorted by group and score; equal scores share their mean rank."""
    fresh = np.ones(len(score), bool)
    fresh[1:] = (score[1:] != score[:-1]) | (group[1:] != group[:-1])
    run = np.cumsum(fresh) - 1
    starts = np.flatnonzero(fresh)
    ends = np.append(starts[1:], len(score))
    means: Doubles = (starts + 1 + ends) / 2
    ranks: Doubles = means[run]
    return ranks


def _mean(values: Floats) -> float:
    return float(np.mean(values, dtype=np.float64)) if len(values) else math.nan


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _plain(value: float | int) -> float | int | None:
    return None if isinstance(value, float) and math.isnan(value) else value
