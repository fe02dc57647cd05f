"""Eq. 5: each level's embedding is fused with its parents', from coarse to fine."""

import numpy as np
import torch

from model.network.group_id import GroupId
from model.network.layers import initialise

LEVELS, WIDTH = 3, 32


def group_id() -> GroupId:
    """A group id network with random weights and biases."""
    network = GroupId(LEVELS, WIDTH)
    initialise(network, seed=1)
    with torch.no_grad():
        for value in network.fusion.parameters():
            value.normal_(generator=torch.Generator().manual_seed(2))
    return network


def test_fusion_is_tanh_of_parent_and_base() -> None:
    """e_fuse^1 = e_base^1 and e_fuse^l = tanh(W^l [e_fuse^(l-1); e_base^l] + b^l)."""
    network = group_id()
    base = torch.randn(4, LEVELS, WIDTH, generator=torch.Generator().manual_seed(3))
    fused = [value.detach().numpy() for value in network.fused(base)]
    expected = base[:, 0].numpy()
    np.testing.assert_array_equal(fused[0], expected)
    for level in range(1, LEVELS):
        weight, bias = (value.detach().numpy() for value in network.fusion[level - 1].parameters())
        joined = np.concatenate([expected, base[:, level].numpy()], axis=1)
        expected = np.tanh(joined @ weight.T + bias)
        np.testing.assert_allclose(fused[level], expected, atol=1e-5)


def test_a_code_reaches_its_own_level_and_every_finer_one() -> None:
    """Another third code leaves levels 1 and 2 alone; another first code changes every level."""
    network = group_id()
    base = torch.randn(1, LEVELS, WIDTH, generator=torch.Generator().manual_seed(4))
    for changed in range(LEVELS):
        other = base.clone()
        other[:, changed] += 1.0
        pairs = zip(network.fused(base), network.fused(other), strict=True)
        same = [torch.equal(before, after) for before, after in pairs]
        assert same == [level < changed for level in range(LEVELS)]


def test_group_representation_has_unit_length() -> None:
    """The aggregated e_G is L2-normalised, whatever the codes."""
    base = torch.randn(50, LEVELS, WIDTH, generator=torch.Generator().manual_seed(5))
    norms = group_id()(base).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(50))
