"""Losses: what the paper's equations do not already say."""

import numpy as np
import torch

from model.losses import LossConfig, activity_threshold, total


def test_the_activity_threshold_is_a_percentile_of_rows_and_never_below_three() -> None:
    """theta_act lets about two fifths of the rows through; tiny counts still need three."""
    purchases = np.arange(100)
    threshold = activity_threshold(purchases)
    assert 0.35 <= (purchases >= threshold).mean() <= 0.45
    assert activity_threshold(np.ones(50, np.int64)) == 3
    assert activity_threshold(np.array([], np.int64)) == 3


def test_a_loss_of_weight_zero_is_left_out() -> None:
    """A loss that does not count cannot spoil the total, not even with NaN."""
    prediction, broken = torch.tensor(1.5), torch.tensor(float("nan"))
    assert total(prediction, {"distillation": broken}, {"distillation": 0.0}).item() == 1.5


def test_presets_differ_in_the_auxiliary_loss_alone() -> None:
    """Literal is the paper's loss; identified adds each channel's own cross-entropy."""
    literal, identified = LossConfig.literal(7), LossConfig.identified(7)
    assert (literal.auxiliary_weight, identified.auxiliary_weight) == (0.0, 0.1)
    assert literal.theta_act == identified.theta_act == 7
    assert literal.distillation_weight == identified.distillation_weight
