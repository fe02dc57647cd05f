"""Counts of a comparison by activity level; they add up over requests and over replicas."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from model.reference import LEVELS
from service.comparison.differences import Difference
from service.lifecycle.states import TargetState
from service.metrics import LATENCY_EDGES_S

_SIZES = (1e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
DIFFERENCE_EDGES = (*(-size for size in reversed(_SIZES)), *_SIZES)
"""Of challenger's score minus champion's; the middle bin holds what is equal but for rounding."""
CORRELATION_EDGES = (-0.5, 0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
SIDES = ("champion", "challenger")
OUTCOMES = ("compared", "waiting", "unavailable", "failed")
"""Of a sample: compared; not both are loaded; records could not be read; a side gave no answer."""


class LevelCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for one activity level."""

    answers: int = 0
    differing: int = 0
    """Answers in which a score differs by more than rounding."""
    candidates: int = 0
    difference: tuple[int, ...] = (0,) * (len(DIFFERENCE_EDGES) + 1)
    """Candidates by edge of ``DIFFERENCE_EDGES``, the last beyond all edges."""
    difference_sum: float = 0.0
    absolute_sum: float = 0.0
    """Of the differences' sizes."""
    correlation: tuple[int, ...] = (0,) * len(CORRELATION_EDGES)
    """Answers with a rank correlation, by edge of ``CORRELATION_EDGES``."""
    correlation_sum: float = 0.0
    first_differs: int = 0
    """Answers in which another candidate stands first."""
    tens: int = 0
    """Answers with more than ten candidates."""
    tens_differ: float = 0.0
    """Over them, shares of the champion's first ten that the challenger's lack."""


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison in one replica."""

    challenger: str
    """As ``version/generation``."""
    champion: str
    since_s: float
    """Seconds since the epoch: since when it counts this pair."""
    targets: tuple[TargetState, ...] = ()
    """Both, as the comparison's own process holds them."""
    outcomes: Mapping[str, int] = {}
    levels: Mapping[str, LevelCounts] = {}
    """By activity level."""
    seconds: Mapping[str, tuple[int, ...]] = {}
    """By side: answers by edge of the service's latencies, reads of records included; both run at
    the lowest priority, so they compare with each other only."""
    seconds_sum: Mapping[str, float] = {}


class ComparisonTally:
    """Counts one pair; written and read by one thread."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.levels = {str(level): LevelCounts() for level in range(1, LEVELS + 1)}
        self.seconds = {side: [0] * (len(LATENCY_EDGES_S) + 1) for side in SIDES}
        self.seconds_sum = dict.fromkeys(SIDES, 0.0)

    def compared(self, level: int, found: Difference, seconds: Mapping[str, float]) -> None:
        """Count one answer of both.

        Args:
            level: the user's activity level.
            found: what differs.
            seconds: by side, how long it took.
        """
        self.outcomes["compared"] += 1
        self.levels[str(level)] = total([self.levels[str(level)], _counted(found)])
        for side, taken in seconds.items():
            self.seconds[side][int(np.searchsorted(LATENCY_EDGES_S, taken))] += 1
            self.seconds_sum[side] += taken


def _counted(found: Difference) -> LevelCounts:
    correlation = [0] * len(CORRELATION_EDGES)
    if found.rank_correlation is not None:
        # Rounding aside, no correlation lies beyond the last edge.
        correlation[int(np.searchsorted(CORRELATION_EDGES[:-1], found.rank_correlation))] = 1
    bins = np.searchsorted(DIFFERENCE_EDGES, found.scores)
    return LevelCounts(
        answers=1,
        differing=int(found.differs),
        candidates=len(found.scores),
        difference=tuple(np.bincount(bins, minlength=len(DIFFERENCE_EDGES) + 1).tolist()),
        difference_sum=float(found.scores.sum()),
        absolute_sum=float(np.abs(found.scores).sum()),
        correlation=tuple(correlation),
        correlation_sum=found.rank_correlation or 0.0,
        first_differs=int(found.first_differs),
        tens=int(found.ten_differ is not None),
        tens_differ=found.ten_differ or 0.0,
    )


def total(counts: Iterable[LevelCounts]) -> LevelCounts:
    """Several together; nothing, of none."""
    columns = zip(LevelCounts.__struct_fields__, *map(msgspec.structs.astuple, counts), strict=True)
    summed: dict[str, Any] = {name: _sum(values) for name, *values in columns if values}
    return LevelCounts(**summed)


def _sum(values: list[Any]) -> Any:
    if isinstance(values[0], tuple):
        return tuple(map(sum, zip(*values, strict=True)))
    return sum(values)


def summed(reports: Iterable[ComparisonReport]) -> list[ComparisonReport]:
    """Reports of one pair together, one for each pair, in the order they were first met.

    Args:
        reports: of one comparison, by replica.

    Returns:
        With every replica's targets, one after the other.
    """
    pairs: dict[tuple[str, str], list[ComparisonReport]] = {}
    for report in reports:
        pairs.setdefault((report.challenger, report.champion), []).append(report)
    return [_together(same) for same in pairs.values()]


def _together(same: list[ComparisonReport]) -> ComparisonReport:
    levels = sorted({level for report in same for level in report.levels})
    sides = [side for side in SIDES if any(side in report.seconds for report in same)]
    return ComparisonReport(
        challenger=same[0].challenger,
        champion=same[0].champion,
        since_s=min(report.since_s for report in same),
        targets=tuple(target for report in same for target in report.targets),
        outcomes={
            outcome: sum(report.outcomes.get(outcome, 0) for report in same) for outcome in OUTCOMES
        },
        levels={
            level: total(report.levels[level] for report in same if level in report.levels)
            for level in levels
        },
        seconds={
            side: _sum([report.seconds[side] for report in same if side in report.seconds])
            for side in sides
        },
        seconds_sum={
            side: sum(report.seconds_sum.get(side, 0.0) for report in same) for side in sides
        },
    )
