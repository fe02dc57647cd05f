"""Soft labels: GAUC by true probabilities instead of the few purchases drawn from them."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


def soft_gauc(score: Floats, probability: Floats, user: Ints) -> float:
    """How well a score orders each user's rows, every pair weighed by its chance to be one.

    A pair of a user's rows counts with the probability that its first is bought and its second
    is not; ties count half. With probabilities of 0 and 1 this is the plain GAUC.

    Args:
        score: ``[N]``; only the order within a user matters.
        probability: ``[N]``: the true probabilities.
        user: int64 ``[N]``.

    Returns:
        The users' AUCs weighed by their rows; users without a pair are left out. NaN when
        nobody has one.

    Source: docs/simulator.md.
    """
    auc, rows = soft_aucs(score, probability, user)
    known = np.isfinite(auc)
    return float(np.average(auc[known], weights=rows[known])) if known.any() else float("nan")


def soft_aucs(
    score: Floats, probability: Floats, user: Ints
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The soft-label AUC of every user.

    Args:
        score: ``[N]``.
        probability: ``[N]``.
        user: int64 ``[N]``.

    Returns:
        In ascending order of users: float64 ``[U]``, NaN for a user without a pair; and int64
        ``[U]``, the user's rows.
    """
    order = np.lexsort((score, user))
    ordered_score, ordered_user = np.asarray(score)[order], np.asarray(user)[order]
    bought = np.asarray(probability, np.float64)[order]
    left = 1 - bought
    user_start = _starts(np.diff(ordered_user) != 0, len(order))
    tie_start = _starts((np.diff(ordered_user) != 0) | (np.diff(ordered_score) != 0), len(order))
    rows = np.diff(user_start, append=len(order))
    tied = np.add.reduceat(left, tie_start)
    below = np.repeat(np.cumsum(tied) - tied, np.diff(tie_start, append=len(order)))
    below -= np.repeat(below[user_start], rows)
    tied = np.repeat(tied, np.diff(tie_start, append=len(order)))
    right = np.add.reduceat(bought * (below + (tied - left) / 2), user_start)
    pairs = np.add.reduceat(bought, user_start) * np.add.reduceat(left, user_start)
    pairs -= np.add.reduceat(bought * left, user_start)
    has_pair = pairs > 1e-12 * rows
    return np.where(has_pair, right / np.where(has_pair, pairs, 1), np.nan), rows


def _starts(changes: NDArray[np.bool_], n: int) -> NDArray[np.intp]:
    """Where runs of equal rows begin."""
    return np.flatnonzero(np.concatenate([np.ones(min(n, 1), np.bool_), changes]))
