"""Target attention."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.network.attention import TargetAttention
from model.network.layers import initialise

FIELDS = (3, 2, 1)
WIDTH = sum(FIELDS)


def attention() -> TargetAttention:
    """An attention unit with random weights."""
    unit = TargetAttention(FIELDS, (8, 4))
    initialise(unit, seed=1)
    with torch.no_grad():
        unit.first.match.normal_(generator=torch.Generator().manual_seed(1))
    return unit


def drawn(
    requests: int, candidates: int, length: int, seed: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random candidates ``[R, C, D]`` and sequence ``[R, L, D]``."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(requests, candidates, WIDTH, generator=generator),
        torch.randn(requests, length, WIDTH, generator=generator),
    )


@given(requests=st.integers(1, 3), candidates=st.integers(1, 4), length=st.integers(1, 5))
def test_split_scores_equal_the_plain_concatenation(
    requests: int, candidates: int, length: int
) -> None:
    """Scores equal an MLP over [q; k; q-k; q*k; dot of each field], which is never built."""
    unit = attention()
    query, keys = drawn(requests, candidates, length)
    shape = (requests, candidates, length, WIDTH)
    q, k = query[:, :, None].expand(shape), keys[:, None].expand(shape)
    dots = [part.sum(dim=-1, keepdim=True) for part in torch.split(q * k, list(FIELDS), -1)]
    joined = torch.cat([q, k, q - k, q * k, *dots], dim=-1)
    weight = torch.cat([unit.first.weight, unit.first.match], dim=1)
    hidden = torch.relu(torch.nn.functional.linear(joined, weight, unit.first.bias))
    expected = unit.out(torch.relu(unit.second(hidden))).squeeze(-1)
    torch.testing.assert_close(unit.scores(query, keys), expected, atol=1e-5, rtol=1e-5)


def test_an_empty_sequence_pools_to_zero() -> None:
    """Nothing real gives the zero vector, never NaN, and so do its gradients."""
    query, keys = drawn(2, 3, 4)
    query.requires_grad_()
    pooled = attention()(query, torch.zeros_like(keys), torch.zeros(2, 4))
    torch.autograd.backward(pooled.sum())
    assert pooled.abs().sum() == 0
    assert query.grad is not None
    assert torch.isfinite(query.grad).all()


@given(padding=st.integers(1, 6))
def test_padding_changes_nothing(padding: int) -> None:
    """Longer padding, even with garbage in it, leaves the pooled vector as it was."""
    query, keys = drawn(2, 3, 4)
    mask = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
    expected = attention()(query, keys, mask)
    garbage = torch.full((2, padding, WIDTH), 7.0)
    longer = torch.cat([keys, garbage], dim=1)
    found = attention()(query, longer, torch.nn.functional.pad(mask, (0, padding)))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_order_of_steps_does_not_matter() -> None:
    """Steps permuted together with their mask pool to the same vector."""
    query, keys = drawn(2, 3, 5)
    mask = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    order = torch.tensor([3, 1, 4, 0, 2])
    found = attention()(query, keys[:, order], mask[:, order])
    torch.testing.assert_close(found, attention()(query, keys, mask), atol=1e-6, rtol=1e-5)


def test_candidates_do_not_see_each_other() -> None:
    """A candidate's vector is the same alone or among others."""
    query, keys = drawn(2, 4, 5)
    mask = torch.ones(2, 5)
    alone = torch.cat([attention()(query[:, n : n + 1], keys, mask) for n in range(4)], dim=1)
    torch.testing.assert_close(alone, attention()(query, keys, mask), atol=1e-6, rtol=1e-5)
