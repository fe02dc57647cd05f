"""Differences between two answers to one request: scores, ranks, and who stands first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FIRST_TEN = 10
EQUAL = 1e-5
"""Scores that differ by at most this are equal; it is the tolerance of logits on a CPU."""


@dataclass(frozen=True, eq=False)
class Difference:
    """What differs in one answer."""

    scores: NDArray[np.float64]
    """Challenger minus champion, ``[C]``."""
    rank_correlation: float | None
    """Spearman's, -1 to 1; None where either side ranks nothing: one candidate, or all alike."""
    first_differs: bool
    """Whether another candidate stands first."""
    ten_differ: float | None
    """Share of the champion's first ten that are not among the challenger's; None: at most ten
    candidates."""

    @property
    def differs(self) -> bool:
        """Whether any score differs by more than rounding."""
        return bool((np.abs(self.scores) > EQUAL).any())


def difference(champion: tuple[Floats, Floats], challenger: tuple[Floats, Floats]) -> Difference:
    """Compare two answers to one request.

    Args:
        champion: its fused logits and scores, each float32 ``[C]``, C >= 1. Ranks are those of the
            logits: scores near 0 and 1 may round to one value.
        challenger: the same of the challenger, candidate by candidate.

    Returns:
        What differs; ties are broken alike on both sides.
    """
    (logits, scores), (other_logits, other_scores) = champion, challenger
    first, other_first = _order(logits), _order(other_logits)
    ten = None
    if len(logits) > FIRST_TEN:
        shared = np.intersect1d(first[:FIRST_TEN], other_first[:FIRST_TEN])
        ten = 1 - len(shared) / FIRST_TEN
    return Difference(
        scores=other_scores.astype(np.float64) - scores.astype(np.float64),
        rank_correlation=rank_correlation(logits, other_logits),
        first_differs=bool(first[0] != other_first[0]),
        ten_differ=ten,
    )


def rank_correlation(one: Floats, other: Floats) -> float | None:
    """Spearman's rank correlation, ties given their mean rank.

    Args:
        one: float32 ``[C]``.
        other: float32 ``[C]``.

    Returns:
        -1 to 1; None where either side is constant.
    """
    ranks, other_ranks = _ranks(one), _ranks(other)
    ranks, other_ranks = ranks - ranks.mean(), other_ranks - other_ranks.mean()
    scale = float(np.sqrt((ranks**2).sum() * (other_ranks**2).sum()))
    if scale == 0:
        return None
    return float(np.clip((ranks * other_ranks).sum() / scale, -1, 1))


def _ranks(values: Floats) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[places]
    return ranks


def _order(values: Floats) -> NDArray[np.int64]:
    """Candidates from the highest, equal ones in the order of the request."""
    return np.argsort(-values, kind="stable")
