"""Eq. 7: the squared excess of the difference of tempered probabilities over a margin."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses import margin_loss

logits = st.floats(-50, 50, width=32)


def sigmoid(value: float) -> float:
    """The logistic function, without overflow."""
    return 1 / (1 + math.exp(-value)) if value > 0 else math.exp(value) / (1 + math.exp(value))


@given(individual=logits, group=logits, temperature=st.floats(0.5, 8), margin=st.floats(0, 0.5))
def test_margin_loss_follows_the_formula(
    individual: float, group: float, temperature: float, margin: float
) -> None:
    """max(0, |sig(z_ind / T) - sig(z_group / T)| - m)^2, finite for any logits."""
    found = margin_loss(torch.tensor([[individual]]), torch.tensor([[group]]), temperature, margin)
    gap = abs(sigmoid(individual / temperature) - sigmoid(group / temperature))
    assert math.isclose(found.item(), max(0.0, gap - margin) ** 2, abs_tol=1e-6)


def test_inside_the_margin_there_is_no_loss_and_no_gradient() -> None:
    """A small difference is tolerated: value and gradient are exactly 0."""
    group = torch.tensor([[0.1]], requires_grad=True)
    loss = margin_loss(torch.tensor([[0.0]]), group, temperature=2.0, margin=0.05)
    torch.autograd.backward(loss.sum())
    assert loss.item() == 0
    assert group.grad is not None
    assert group.grad.item() == 0


def test_gradient_towards_the_student_follows_the_formula() -> None:
    """dL/dz_group = 2 (|D| - m) sign(D) sig'(z_group / T) / T outside the margin."""
    group = torch.tensor([[-2.0]], requires_grad=True)
    loss = margin_loss(torch.tensor([[2.0]]), group, temperature=2.0, margin=0.05)
    torch.autograd.backward(loss.sum())
    teacher, student = sigmoid(1.0), sigmoid(-1.0)
    expected = -2 * (teacher - student - 0.05) * student * (1 - student) / 2.0
    assert group.grad is not None
    assert math.isclose(group.grad.item(), expected, rel_tol=1e-5)
