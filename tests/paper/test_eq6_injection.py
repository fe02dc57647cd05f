"""Eq. 6: group knowledge is injected into the individual channel, and only in that direction."""

import numpy as np
import torch

from model.losses import LossConfig
from model.network.channels import Injection
from model.network.choirrec import ChoirRec
from tests.synthetic import TINY, world


def test_split_injection_equals_the_two_layer_network_over_the_concatenation() -> None:
    """W2 ReLU(W1 [h_group; h_ind] + b1) + b2, though W1's group part lives in the group channel."""
    generator = torch.Generator().manual_seed(1)
    of_group = torch.nn.Linear(16, 7, bias=False)
    injection = Injection(mid=16, hidden=7, post=12)
    with torch.no_grad():
        for value in [of_group.weight, *injection.parameters()]:
            value.normal_(generator=generator)
    group, individual = torch.randn(2, 3, 4, 16, generator=generator).unbind(0)
    found = injection(individual, of_group(group)).detach().numpy()

    w1 = torch.cat([of_group.weight, injection.individual.weight], dim=1).detach().numpy()
    b1 = injection.individual.bias.detach().numpy()
    w2, b2 = injection.out.weight.detach().numpy(), injection.out.bias.detach().numpy()
    joined = np.concatenate([group.numpy(), individual.numpy()], axis=-1)
    expected = np.maximum(joined @ w1.T + b1, 0) @ w2.T + b2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_injection_is_added_to_the_second_hidden_layer_after_its_relu() -> None:
    """h_post <- h_post + h_fuse: a constant injected there moves the layers above by just that."""
    drawn = world()
    model = ChoirRec(drawn.spec, TINY, drawn.lookups, LossConfig(), seed=1)
    tower = model.individual.tower
    mid = torch.rand(3, 2, TINY.tower[0], generator=torch.Generator().manual_seed(2))
    injected = torch.full((3, 2, TINY.tower[1]), 0.25)
    post = torch.relu(tower.second(mid)) + injected
    expected = tower.out(torch.relu(tower.later[0](post))).squeeze(-1)
    torch.testing.assert_close(tower.logit(mid, injected), expected)


def test_the_individual_logit_sends_no_gradient_into_the_group_channel() -> None:
    """Of the group channel only the injection's own W1g learns from the individual logit."""
    drawn = world()
    model = ChoirRec(drawn.spec, TINY, drawn.lookups, LossConfig(), seed=1)
    with torch.no_grad():
        assert model.individual.injection is not None
        model.individual.injection.out.weight.fill_(0.1)
    logit = model(drawn.split.batch(np.arange(32))).individual_logit
    torch.autograd.backward(logit.sum())
    touched = {name for name, value in model.group.named_parameters() if value.grad is not None}
    assert touched == {"injection.weight"}
    assert all(value.grad is None for value in model.group_codes.parameters())


def test_the_group_logit_sends_no_gradient_to_any_individual_input() -> None:
    """The group channel is isolated: user, context and own history have gradient exactly 0."""
    drawn = world()
    model = ChoirRec(drawn.spec, TINY, drawn.lookups, LossConfig(), seed=1)
    inputs = {
        name: value.detach().requires_grad_()
        for name, value in model.embed(drawn.split.batch(np.arange(32))).items()
    }
    torch.autograd.backward(model.channels(inputs).group_logit.sum())
    for name in ("user", "history", "history_mask", "activity"):
        assert inputs[name].grad is None
    for name in ("group_codes", "group_attributes", "group_sequence", "candidates"):
        gradient = inputs[name].grad
        assert gradient is not None
        assert gradient.abs().sum() > 0
