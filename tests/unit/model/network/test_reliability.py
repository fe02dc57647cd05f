"""The reliability network."""

import torch

from model.network.layers import initialise
from model.network.reliability import Reliability


def test_both_gates_start_at_one_half() -> None:
    """Before training neither channel is preferred, whatever the activity."""
    network = Reliability(5, (6, 4))
    initialise(network, seed=1)
    activity = torch.rand(9, 5, generator=torch.Generator().manual_seed(2))
    half = torch.full((9, 1), 0.5)
    assert torch.equal(network(activity), half)
    assert torch.equal(network.alpha_distill(activity), half)


def test_the_gates_are_separate_heads() -> None:
    """Training the fusion gate moves no weight of the distillation head."""
    network = Reliability(5, (6, 4))
    initialise(network, seed=1)
    torch.autograd.backward(network(torch.ones(3, 5)).sum())
    assert network.fusion.bias.grad is not None
    assert network.distill.bias.grad is None
