"""Distillation in a training record: whether the group channel was taught at all."""

from collections.abc import Mapping
from typing import Any

COLLAPSED_BELOW = 0.01
"""At a hundredth of its weight a loss that is small already moves nothing."""


def mean_alpha_distill(training: Mapping[str, Any]) -> float | None:
    """Mean ``alpha_distill`` over the qualified rows of the epoch that was kept.

    Args:
        training: what ``training.json`` says of a run.

    Returns:
        A weight in [0, 1]; None where no row qualified, or the model does not distil.

    Source: eq. 8 and 9.
    """
    if not training["epochs"]:
        return None
    kept = training["epochs"][training["best_epoch"]]
    mean: float | None = kept["diagnostics"].get("alpha_distill_qualified")
    return mean


def collapse(alpha_distill: float | None) -> str | None:
    """A warning where distillation has switched itself off, else None."""
    if alpha_distill is None or alpha_distill >= COLLAPSED_BELOW:
        return None
    return (
        f"alpha_distill has fallen to {alpha_distill:.2g} on qualified rows (below "
        f"{COLLAPSED_BELOW}): distillation teaches the group channel next to nothing, as its loss "
        "allows (docs/model.md); do not credit figures to it"
    )
