"""The summary of a comparison: means and quantiles for people, by activity level and over all."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.comparison.counts import (
    CORRELATION_EDGES,
    DIFFERENCE_EDGES,
    ComparisonReport,
    LevelCounts,
    total,
)
from service.metrics import LATENCY_EDGES_S

ALL = "all"
_QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
_SIZES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_TIMES = {"p50_ms": 0.5, "p99_ms": 0.99}


def summary(report: ComparisonReport) -> dict[str, Any]:
    """What a comparison found, as JSON.

    Args:
        report: of one pair.

    Returns:
        Both targets and their states, samples by outcome, figures by activity level and for
        ``all``, and times by side. A quantile is exact to its bin; None: nothing was counted.
    """
    levels = {level: counts for level, counts in report.levels.items() if counts.answers}
    if levels:
        levels[ALL] = total(levels.values())
    return {
        "champion": report.champion,
        "challenger": report.challenger,
        "since_s": report.since_s,
        "targets": [
            {"target": t.name, "state": t.state, "reason": t.reason} for t in report.targets
        ],
        "samples": dict(report.outcomes),
        "levels": {level: _figures(counts) for level, counts in levels.items()},
        "latency": {
            side: {
                name: _milliseconds(quantile_of(counts, LATENCY_EDGES_S, share))
                for name, share in _TIMES.items()
            }
            for side, counts in report.seconds.items()
        },
    }


def quantile_of(counts: Sequence[int], edges: Sequence[float], share: float) -> float | None:
    """A quantile of counts by upper edge: the upper edge of the bin it lies in.

    Args:
        counts: per bin, one more than edges, the last beyond all of them; or as many.
        edges: increasing.
        share: 0 to 1.

    Returns:
        An edge, the last one for what lies beyond; None without counts.
    """
    if not sum(counts):
        return None
    places = np.cumsum(counts)
    place = int(np.searchsorted(places, share * places[-1]))
    return float(edges[min(place, len(edges) - 1)])


def _figures(counts: LevelCounts) -> dict[str, Any]:
    correlations = sum(counts.correlation)
    return {
        "answers": counts.answers,
        "differing": counts.differing / counts.answers,
        "difference": {
            "mean": counts.difference_sum / counts.candidates,
            **{n: _of_zero(counts.difference, share) for n, share in _QUANTILES.items()},
        },
        "absolute": {
            "mean": counts.absolute_sum / counts.candidates,
            **{n: _size(counts.difference, share) for n, share in _SIZES.items()},
        },
        "rank_correlation": {
            "mean": counts.correlation_sum / correlations if correlations else None,
            "p05": quantile_of(counts.correlation, CORRELATION_EDGES, 0.05),
        },
        "first_differs": counts.first_differs / counts.answers,
        "ten_differ": counts.tens_differ / counts.tens if counts.tens else None,
    }


def _of_zero(counts: Sequence[int], share: float) -> float | None:
    """A quantile of differences: the edge of its bin that is further from 0; 0 in the middle."""
    middle = len(DIFFERENCE_EDGES) // 2
    place = int(np.searchsorted(np.cumsum(counts), share * sum(counts)))
    if not sum(counts) or place == middle:
        return 0.0 if sum(counts) else None
    edge = place - 1 if place < middle else place
    return float(DIFFERENCE_EDGES[min(max(edge, 0), len(DIFFERENCE_EDGES) - 1)])


def _size(counts: Sequence[int], share: float) -> float | None:
    """A quantile of the sizes of differences."""
    middle = len(DIFFERENCE_EDGES) // 2
    sizes = DIFFERENCE_EDGES[middle:]
    mirrored = zip(reversed(counts[:middle]), counts[middle + 1 :], strict=True)
    folded = [counts[middle], *(below + above for below, above in mirrored)]
    return quantile_of(folded, sizes, share)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
