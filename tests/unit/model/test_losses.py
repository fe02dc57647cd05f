"""Losses: what the paper's equations do not already say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses import (
    LossConfig,
    activity_threshold,
    distillation,
    kl_divergence,
    margin_loss,
    total,
)

logits = st.floats(-12, 12, width=32)


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


def bernoulli_kl(individual: float, group: float, temperature: float) -> float:
    """KL from its definition, in double precision."""
    p, q = (1 / (1 + np.exp(-z / temperature)) for z in (individual, group))
    return float(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


@given(logits, logits, st.sampled_from([1.0, 2.0]))
def test_kl_is_that_of_tempered_bernoullis(
    individual: float, group: float, temperature: float
) -> None:
    """KL is p log(p / q) summed over both outcomes, without a margin and without the factor T^2."""
    found = kl_divergence(torch.tensor([[individual]]), torch.tensor([[group]]), temperature)
    assert found.item() == pytest.approx(bernoulli_kl(individual, group, temperature), abs=3e-6)


def test_kl_pulls_the_student_by_the_difference_of_probabilities() -> None:
    """The gradient is (q - p) / T: none at agreement, and it does not vanish when saturated."""
    student = torch.tensor([[-50.0], [50.0], [0.7]], requires_grad=True)
    teacher = torch.tensor([[50.0], [-50.0], [0.7]])
    loss = kl_divergence(teacher, student, 2.0)
    torch.autograd.backward(loss.sum())
    assert loss.flatten().tolist() == pytest.approx([25.0, 25.0, 0.0])
    assert student.grad is not None
    assert student.grad.flatten().tolist() == pytest.approx([-0.5, 0.5, 0.0])


def test_kl_stands_in_the_place_of_the_margin_loss_behind_the_same_gates() -> None:
    """Row by row the distillation is gates times KL; the teacher gets no gradient from it."""
    generator = torch.Generator().manual_seed(1)
    individual, group = (3 * torch.randn(2, 20, 3, generator=generator)).unbind()
    alpha, purchases = torch.rand(20, 1, generator=generator), torch.arange(20)
    teacher = individual.requires_grad_()
    student = group.requires_grad_()
    margin, kl = LossConfig(theta_act=8), LossConfig(theta_act=8, divergence="kl", margin=0.9)
    gates = alpha * (purchases >= 8).unsqueeze(1) * ((individual.sigmoid() - 0.5).abs() > 0.1)
    found = distillation(teacher, student, alpha, purchases, kl)
    torch.testing.assert_close(found, gates * kl_divergence(individual, group, 2.0))
    torch.autograd.backward(found.sum())
    assert teacher.grad is None
    assert student.grad is not None
    assert not torch.equal(found, distillation(individual, group, alpha, purchases, margin))


def test_without_gates_neither_purchases_nor_alpha_matter() -> None:
    """g_qual = alpha_distill = 1: what is left is eq. 7 alone."""
    individual, group = torch.tensor([[2.0], [-1.0]]), torch.tensor([[-2.0], [3.0]])
    config = LossConfig(theta_act=100, gated=False)
    found = distillation(individual, group, torch.zeros(2, 1), torch.zeros(2), config)
    assert torch.equal(found, margin_loss(individual, group, 2.0, 0.05))


def test_losses_know_whether_distillation_is_the_papers() -> None:
    """A constant may be tuned; a part switched off or replaced is an ablation."""
    assert not LossConfig(theta_act=9, margin=0.1, distillation_weight=0.02).ablated
    assert not LossConfig.literal(3).ablated
    assert LossConfig(gated=False).ablated
    assert LossConfig(divergence="kl").ablated
    assert LossConfig(margin=0.0).ablated
    assert LossConfig(distillation_weight=0.0).ablated


def test_an_unknown_divergence_is_refused() -> None:
    """A misspelt option is not silently eq. 7."""
    with pytest.raises(ValueError, match="'KL': expected 'margin' or 'kl'"):
        LossConfig(divergence="KL")  # type: ignore[arg-type]
