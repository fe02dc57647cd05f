"""Limits: what a run of the bench must show, and in which figures it falls short."""

from collections.abc import Mapping
from typing import Any

ANSWERS = 100_000
P99_RATIO = 1.5
MEMORY_GROWTH = 0.05
ROLLBACK_S = 1.0
SHARE_ERROR_POINTS = 0.3

_AT_MOST: Mapping[str, float] = {
    "failed": 0,
    "mixed": 0,
    "degraded": 0,
    "p99_ratio": P99_RATIO,
    "memory_growth": MEMORY_GROWTH,
    "memory_growth_200": MEMORY_GROWTH,
    "rollback_s": ROLLBACK_S,
    "rollback_failed": 0,
    "canary_share_error": SHARE_ERROR_POINTS,
    "shadow_failed": 0,
}
_AT_LEAST: Mapping[str, float] = {"canary_sticky": 1.0}


def complaints(figures: Mapping[str, Any], answers: int = 0) -> dict[str, str]:
    """In which figures a run falls short.

    Args:
        figures: any of them; those that were not measured are not judged.
        answers: at least expected.

    Returns:
        By figure, what was found and what was expected.
    """
    found = {}
    for name, most in _AT_MOST.items():
        # Not "above the most": a NaN is within no limit.
        if name in figures and not figures[name] <= most:
            found[name] = f"{name} is {figures[name]}, expected at most {most}"
    for name, least in {**_AT_LEAST, "answers": answers}.items():
        if name in figures and not figures[name] >= least:
            found[name] = f"{name} is {figures[name]}, expected at least {least}"
    return found
