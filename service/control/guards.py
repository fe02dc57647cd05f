"""The guards of a canary: what its answers must not do beside the champion's, and the evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from model.reference import ReferenceSketch
from service.control.alpha import AlphaLevel, alpha_levels
from service.control.statistics import (
    CHANCE,
    DEVIATIONS,
    excess_chance,
    population_stability,
    quantile,
    stability_by_chance,
)
from service.lifecycle.states import RoleCounts
from service.metrics import LATENCY_EDGES_S

Kind = Literal["errors", "latency", "drift", "alpha"]
KINDS: tuple[Kind, ...] = ("errors", "latency", "drift", "alpha")

SLOW_SHARE = 0.01
"""What p99 means: this share of the calls is slower."""
INVERTED = 0.02
"""Difference of mean alpha_fusion between levels 5 and 1 that counts as an order."""
COLLAPSED = 0.25
"""Share of the reference's spread over the levels below which alpha_fusion has collapsed."""
LEAST_SPREAD = 0.05
"""A reference that spreads less than this has nothing to collapse."""
EXTREME = 0.01
"""A mean alpha_fusion this close to 0 or 1 at every level leaves one channel alone."""


@dataclass(frozen=True)
class Limits:
    """From where on a difference is a fault; it must be beyond chance, too."""

    calls: int = 500
    """Calls on either side before a window ends; errors are judged by the canary's alone."""
    answers: int = 200
    """Answers per level, on either side, before scores and alpha_fusion are judged."""
    error_excess: float = 0.005
    """Share of failed calls above the champion's."""
    p99_ratio: float = 1.5
    """The canary's p99 over the champion's."""
    stability: float = 0.25
    """Population stability index above the champion's own."""


@dataclass(frozen=True)
class Alarm:
    """One fault that was found."""

    kind: Kind
    reason: str
    """For operators."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Numbers, JSON values only."""


def judge_errors(canary: RoleCounts, champion: RoleCounts, limits: Limits) -> Alarm | None:
    """Whether the canary fails more often than the champion beside it, which may have few calls.

    The test is exact, so that few calls of the champion make it slow to judge, not rash.
    """
    if canary.requests < limits.calls or not champion.requests:
        return None
    rate, usual = canary.errors / canary.requests, champion.errors / champion.requests
    chance = excess_chance(canary.errors, canary.requests, champion.errors, champion.requests)
    if rate - usual <= limits.error_excess or chance >= CHANCE:
        return None
    return Alarm(
        "errors",
        f"{100 * rate:.2f} % of the canary's calls fail, {100 * usual:.2f} % of the champion's",
        {
            "calls": {"canary": canary.requests, "champion": champion.requests},
            "errors": {"canary": canary.errors, "champion": champion.errors},
            "chance": chance,
        },
    )


def judge_latency(canary: RoleCounts, champion: RoleCounts, limits: Limits) -> Alarm | None:
    """Whether the canary's p99 is above the champion's by more than the ratio allows."""
    if canary.requests < limits.calls or champion.requests < limits.calls:
        return None
    usual = quantile(champion.latency, LATENCY_EDGES_S, 1 - SLOW_SHARE)
    found = quantile(canary.latency, LATENCY_EDGES_S, 1 - SLOW_SHARE)
    if usual is None or found is None:
        return None
    place = next((n for n, e in enumerate(LATENCY_EDGES_S) if e >= limits.p99_ratio * usual), None)
    if place is None:
        return None  # beyond the slowest edge nothing can be told apart
    slow, slow_usually = sum(canary.latency[place + 1 :]), sum(champion.latency[place + 1 :])
    chance = excess_chance(slow, canary.requests, slow_usually, champion.requests)
    if slow <= SLOW_SHARE * canary.requests or chance >= CHANCE:
        return None
    return Alarm(
        "latency",
        f"the canary's p99 is {1000 * found:.1f} ms, the champion's {1000 * usual:.1f} ms",
        {
            "calls": {"canary": canary.requests, "champion": champion.requests},
            "p99_s": {"canary": found, "champion": usual},
            "slower_than_s": LATENCY_EDGES_S[place],
            "slower": {"canary": slow, "champion": slow_usually},
            "chance": chance,
        },
    )


def judge_drift(
    level: int,
    canary: tuple[RoleCounts, ReferenceSketch],
    champion: tuple[RoleCounts, ReferenceSketch],
    limits: Limits,
) -> Alarm | None:
    """Whether the canary's scores left the bins of its reference sketch, and the champion's not.

    Live requests are never quite like the test rows a sketch was made of. That moves both sides
    alike, each within its own sketch; only what the canary moves beyond it counts against it.

    Args:
        level: the activity level, 1 to 5.
        canary: its counts and its bundle's sketch.
        champion: the same of the champion.
        limits: from where on it is a fault.
    """
    (own, own_of, bins), (usual, usual_of, _) = _drift(level, *canary), _drift(level, *champion)
    if min(own_of, usual_of) < limits.answers or bins < 2:
        return None
    reference_of = _independent(canary[1], level)
    chance = stability_by_chance(bins, min(own_of, usual_of), reference_of, usual)
    bound = usual + limits.stability + chance
    if own <= bound:
        return None
    return Alarm(
        "drift",
        f"scores of activity level {level} have drifted from the canary's reference sketch: "
        f"stability index {own:.2f}, the champion's {usual:.2f}, at most {bound:.2f}",
        {
            "activity_level": level,
            "answers": {"canary": own_of, "champion": usual_of},
            "stability_index": {"canary": own, "champion": usual},
            "by_chance": chance,
            "bins": {
                "canary": list(canary[0].score[str(level)]),
                "reference": list(canary[1].score[level].counts),
            },
        },
    )


def judge_alpha(
    canary: RoleCounts, champion: RoleCounts, reference: ReferenceSketch, limits: Limits
) -> Alarm | None:
    """Whether alpha_fusion has turned over, or no longer tells the activity levels apart.

    Args:
        canary: its counts.
        champion: the champion's.
        reference: of the canary's bundle.
        limits: answers per level; levels with fewer are left out.

    Returns:
        Nothing, too, where the reference or the champion shows the same: then it is no fault of
        the canary's.
    """
    levels = {
        level: found
        for level, found in alpha_levels(canary, champion, reference).items()
        if found.least >= limits.answers
    }
    reason = _inverted(levels) or _extreme(levels) or _collapsed(levels)
    if reason is None:
        return None
    return Alarm("alpha", reason, {str(level): found.told() for level, found in levels.items()})


def _inverted(levels: Mapping[int, AlphaLevel]) -> str | None:
    low, high = levels.get(1), levels.get(5)
    if low is None or high is None:
        return None
    by_chance = DEVIATIONS * (low.error**2 + high.error**2) ** 0.5
    turned = high.canary - low.canary > INVERTED + by_chance
    if not turned or high.reference > low.reference or high.champion > low.champion:
        return None
    return (
        f"alpha_fusion is inverted: {low.canary:.3f} at activity level 1 and {high.canary:.3f} at "
        f"level 5; the champion's {low.champion:.3f} and {high.champion:.3f}"
    )


def _extreme(levels: Mapping[int, AlphaLevel]) -> str | None:
    for name, end in (("0", 0.0), ("1", 1.0)):
        gone = [abs(level.canary - end) < EXTREME for level in levels.values()]
        alive = [
            min(abs(level.champion - end), abs(level.reference - end)) > 5 * EXTREME
            for level in levels.values()
        ]
        if gone and all(gone) and any(alive):
            return f"alpha_fusion has collapsed to {name} at activity levels {sorted(levels)}"
    return None


def _collapsed(levels: Mapping[int, AlphaLevel]) -> str | None:
    if len(levels) < 2:
        return None
    found = list(levels.values())
    by_chance = DEVIATIONS * max(level.error for level in found) * 2**0.5
    spread = _spread([level.canary for level in found])
    usual = min(_spread([le.reference for le in found]), _spread([le.champion for le in found]))
    if usual < LEAST_SPREAD or spread + by_chance >= COLLAPSED * usual:
        return None
    return (
        f"alpha_fusion has collapsed: it differs by {spread:.3f} over activity levels "
        f"{sorted(levels)}, the champion's and the reference's by {usual:.3f} at least"
    )


def _spread(means: list[float]) -> float:
    return max(means) - min(means)


def _drift(level: int, counts: RoleCounts, reference: ReferenceSketch) -> tuple[float, int, int]:
    """Stability index against the reference, answers, and bins; none where they do not fit."""
    found = counts.score.get(str(level), ())
    expected = reference.score[level].counts
    answers, _ = counts.alpha.get(str(level), (0, 0.0))
    if len(found) != len(expected) or not answers:
        return 0.0, 0, 0
    return population_stability(found, expected), answers, len(expected)


def _independent(reference: ReferenceSketch, level: int) -> int:
    """Requests behind a sketch's level; its rows of one request lie together."""
    return reference.alpha_fusion[level].total or reference.score[level].total
