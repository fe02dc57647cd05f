"""Distillation: a weight that has fallen to nothing is told."""

import pytest

from offline.distillation import collapse, mean_alpha_distill


def record(*means: float | None, best: int) -> dict[str, object]:
    """A training record of one epoch per mean."""
    epochs = [
        {"diagnostics": {} if mean is None else {"alpha_distill_qualified": mean}} for mean in means
    ]
    return {"best_epoch": best, "epochs": epochs}


def test_the_kept_epoch_is_told_of() -> None:
    """The figure is that of the parameters that serve, not of the last epoch."""
    assert mean_alpha_distill(record(0.5, 0.25, 0.001, best=1)) == 0.25


def test_without_qualified_rows_there_is_no_figure() -> None:
    """A mean over no rows is not made up, and is not called a collapse."""
    assert mean_alpha_distill(record(None, best=0)) is None
    assert collapse(None) is None


@pytest.mark.parametrize(("alpha", "warned"), [(0.0, True), (0.0099, True), (0.01, False)])
def test_a_collapse_is_said_in_words(alpha: float, warned: bool) -> None:
    """Below a hundredth there is a warning, from there on none."""
    said = collapse(alpha)
    assert (said is not None) is warned
    assert said is None or "next to nothing" in said
