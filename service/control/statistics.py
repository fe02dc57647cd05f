"""Statistics of the guards: how far two counts differ, and how far by chance alone."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CHANCE = 1e-5
"""How likely one test calls chance a fault."""
DEVIATIONS = 4.265
"""Standard deviations that a normal variable exceeds with that probability."""
_SMOOTHING = 0.5
"""Added to every bin, so that an empty one has a logarithm."""


def excess_chance(canary: int, canary_of: int, champion: int, champion_of: int) -> float:
    """How likely the canary has at least so many of the events by chance alone.

    Given all events, the canary's own are binomial with its share of the calls: exact however few
    there are, and untouched by anything that hits both sides alike.

    Args:
        canary: events on the canary's side.
        canary_of: calls there.
        champion: events on the champion's side.
        champion_of: calls there.

    Returns:
        P(X >= canary), 0 to 1; 1 where a side has no calls.
    """
    events, calls = canary + champion, canary_of + champion_of
    if not canary or not canary_of or not champion_of:
        return 1.0
    share = canary_of / calls
    k = np.arange(canary, events + 1)
    factorials = _log_factorials(events)
    logs = (
        factorials[events]
        - factorials[k]
        - factorials[events - k]
        + k * math.log(share)
        + (events - k) * math.log1p(-share)
    )
    return min(1.0, float(np.exp(logs).sum()))


def population_stability(found: Sequence[int], expected: Sequence[int]) -> float:
    """The population stability index: sum of (p - q) ln(p / q) over bins.

    Args:
        found: counts per bin.
        expected: counts of the same bins.

    Returns:
        0 for equal shares; by the usual rule 0.1 is a shift worth a look, 0.25 a major one.
    """
    p, q = _shares(found), _shares(expected)
    return float(((p - q) * np.log(p / q)).sum())


def stability_by_chance(bins: int, found_of: float, expected_of: float, index: float) -> float:
    """How much a population stability index may exceed its true value by chance.

    Args:
        bins: of both histograms.
        found_of: independent observations behind the one; here answers, since the candidates of
            one answer lie together.
        expected_of: behind the other.
        index: its true value, or what stands for it.

    Returns:
        Exceeded with about ``CHANCE``: the quantile of chi-squared that the index follows where
        nothing differs, and its normal deviation where something does.
    """
    scale = 1 / max(found_of, 1.0) + 1 / max(expected_of, 1.0)
    return scale * _chi_squared(bins - 1) + DEVIATIONS * math.sqrt(4 * index * scale)


def quantile(counts: Sequence[int], edges: Sequence[float], share: float) -> float | None:
    """A quantile of a histogram, its bins taken as even.

    Args:
        counts: per bin, the last one beyond all edges.
        edges: upper edges, increasing, the first bin from 0.
        share: 0 to 1.

    Returns:
        The value, at most the last edge; None without any counts.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below, low = share * total, 0, 0.0
    for edge, count in zip(edges, counts, strict=False):
        if count and below + count >= wanted:
            return low + (edge - low) * (wanted - below) / count
        below, low = below + count, edge
    return float(edges[-1])


def _chi_squared(degrees: int) -> float:
    """Its quantile at ``1 - CHANCE``, by Wilson and Hilferty's approximation."""
    if degrees < 1:
        return 0.0
    part = 2 / (9 * degrees)
    return degrees * float((1 - part + DEVIATIONS * math.sqrt(part)) ** 3)


def _shares(counts: Sequence[int]) -> NDArray[np.float64]:
    smoothed = np.asarray(counts, np.float64) + _SMOOTHING
    shares: NDArray[np.float64] = smoothed / smoothed.sum()
    return shares


def _log_factorials(most: int) -> NDArray[np.float64]:
    """Logarithms of n! for n from 0 to ``most``."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
