"""Eq. 9: distillation passes both gates and teaches the group channel alone."""

import numpy as np
import torch

from model.losses import LossConfig, distillation, margin_loss, qualification
from model.network.choirrec import ChoirRec
from tests.synthetic import TINY, world

CONFIG = LossConfig(theta_act=1, margin=0.0)


def test_distillation_is_the_product_of_gates_and_margin_loss() -> None:
    """L_KD = g_qual * alpha_distill * L_margin, row by row."""
    generator = torch.Generator().manual_seed(1)
    individual, group = 3 * torch.randn(2, 20, 3, generator=generator)
    alpha = torch.rand(20, 1, generator=generator)
    purchases = torch.randint(0, 6, (20,), generator=generator)
    config = LossConfig(theta_act=3)
    expected = (
        qualification(individual, purchases, 3, config.theta_conf)
        * alpha
        * margin_loss(individual, group, config.temperature, config.margin)
    )
    found = distillation(individual, group, alpha, purchases, config)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert 0 < (found > 0).float().mean() < 1


def distilled_gradients(config: LossConfig) -> tuple[ChoirRec, float]:
    """A model after one backward pass of the distillation loss, and that loss."""
    drawn = world()
    model = ChoirRec(drawn.spec, TINY, drawn.lookups, config, seed=1)
    with torch.no_grad():
        model.individual.tower.out.bias.fill_(-3.0)
    loss = model(drawn.split.batch(np.arange(64))).aux["distillation"]
    torch.autograd.backward(loss)
    return model, loss.item()


def test_the_teacher_gets_no_gradient() -> None:
    """Towards every parameter of the individual channel the gradient is exactly 0."""
    model, loss = distilled_gradients(CONFIG)
    assert loss > 0
    assert all(value.grad is None for value in model.individual.parameters())
    assert model.tables.user.weight.grad is None


def test_the_student_gets_a_gradient_beyond_the_margin() -> None:
    """Where channels disagree, the group channel's tower learns."""
    model, _ = distilled_gradients(CONFIG)
    gradient = model.group.tower.out.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_within_the_margin_nothing_learns() -> None:
    """With a margin no difference exceeds, loss and every gradient are exactly 0."""
    model, loss = distilled_gradients(LossConfig(theta_act=1, margin=1.0))
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    assert loss == 0
    assert all(gradient.abs().sum() == 0 for gradient in gradients)


def test_extreme_disagreement_stays_finite() -> None:
    """Logits of +-50 give a finite loss and gradient: a saturated sigmoid does not explode."""
    student = torch.tensor([[-50.0], [50.0]], requires_grad=True)
    loss = distillation(
        torch.tensor([[50.0], [-50.0]]), student, torch.ones(2, 1), torch.tensor([9, 9]), CONFIG
    )
    torch.autograd.backward(loss.sum())
    assert torch.isfinite(loss).all()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
