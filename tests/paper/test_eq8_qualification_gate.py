"""The qualification gate (its number, 8, is skipped in the paper): active user, sure teacher."""

import math

import torch

from model.losses import qualification


def gate(logit: float, purchases: int) -> float:
    """The gate of one row, theta_act 3 and theta_conf 0.1."""
    return qualification(
        torch.tensor([[logit]]), torch.tensor([purchases]), theta_act=3, theta_conf=0.1
    ).item()


def test_the_threshold_of_activity_itself_qualifies() -> None:
    """|S_u^buy| >= theta_act: the threshold passes, one purchase less does not."""
    assert [gate(-3.0, purchases) for purchases in (2, 3, 4)] == [0.0, 1.0, 1.0]


def test_the_threshold_of_confidence_itself_does_not_qualify() -> None:
    """|sig(z) - 0.5| > theta_conf, on both sides of one half."""
    edge = math.log(0.6 / 0.4)
    assert [gate(sign * edge * 0.999, 5) for sign in (1, -1)] == [0.0, 0.0]
    assert [gate(sign * edge * 1.001, 5) for sign in (1, -1)] == [1.0, 1.0]


def test_probability_exactly_at_the_threshold_does_not_qualify() -> None:
    """With theta_conf = 0, a teacher of probability one half is not confident."""
    zero = qualification(torch.zeros(1, 1), torch.tensor([9]), theta_act=3, theta_conf=0.0)
    assert zero.item() == 0.0


def test_the_gate_sends_no_gradient() -> None:
    """A hard gate: nothing learns to pass it."""
    logit = torch.tensor([[-3.0]], requires_grad=True)
    assert not qualification(logit, torch.tensor([5]), 3, 0.1).requires_grad
