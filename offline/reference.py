"""The reference sketch of a model: its scores and alpha_fusion on held-out rows, in bins."""

import numpy as np
from numpy.typing import NDArray

from model.reference import LEVELS, Histogram, ReferenceSketch

BINS = 10
"""Bins of about equal counts per level: what the usual thresholds of PSI (0.1, 0.25) suppose."""
LEAST = 50
"""Values per bin: with fewer, chance alone moves a bin by more than a drift worth telling."""


def reference_sketch(
    score: NDArray[np.float32],
    level: NDArray[np.int8],
    alpha_fusion: NDArray[np.float32],
    alpha_level: NDArray[np.int8],
) -> ReferenceSketch:
    """Histograms by activity level, to compare with what serving sees later.

    Args:
        score: float32 ``[N]`` in [0, 1], a value per row.
        level: int8 ``[N]``, 1 to 5.
        alpha_fusion: float32 ``[R]`` in [0, 1], a value per context: it depends on the user alone,
            and serving counts it once per request.
        alpha_level: int8 ``[R]``, 1 to 5.

    Returns:
        The sketch. Every bin holds at least ``LEAST`` values; a level with fewer than twice as
        many has one bin.
    """
    return ReferenceSketch(
        score={n: _histogram(score[level == n]) for n in range(1, LEVELS + 1)},
        alpha_fusion={n: _histogram(alpha_fusion[alpha_level == n]) for n in range(1, LEVELS + 1)},
    )


def _histogram(values: NDArray[np.float32]) -> Histogram:
    ordered = np.sort(values.astype(np.float64))
    edges = _edges(ordered)
    counts = np.diff([0, *np.searchsorted(ordered, edges), len(ordered)])
    mean = float(ordered.mean()) if len(ordered) else None
    return Histogram(tuple(edges), tuple(counts.tolist()), mean)


def _edges(ordered: NDArray[np.float64]) -> list[float]:
    """Edges between values, never at one: noise of the last digit moves nothing."""
    bins = max(1, min(BINS, len(ordered) // LEAST))
    target = len(ordered) // bins
    edges: list[float] = []
    end = target
    while len(ordered) - end >= LEAST:
        # Values equal to a bin's last one belong to that bin.
        end = int(np.searchsorted(ordered, ordered[end - 1], side="right"))
        if len(ordered) - end < LEAST:
            break
        edges.append(float(ordered[end - 1] + ordered[end]) / 2)
        end += target
    return edges
