"""Pooling piece by piece."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.network import pooling
from model.network.attention import TargetAttention
from model.network.layers import initialise

FIELDS = (3, 2, 1)
WIDTH = sum(FIELDS)
Pool = Callable[[Tensor, Tensor, Tensor], Tensor]


def attention() -> TargetAttention:
    """An attention unit with random weights."""
    unit = TargetAttention(FIELDS, (8, 4))
    initialise(unit, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in (unit.first.match, unit.first.bias, unit.second.bias):
            value.normal_(generator=generator)
    return unit


def plain(unit: TargetAttention, candidates: Tensor, sequence: Tensor, mask: Tensor) -> Tensor:
    """The formula in one piece, with torch's own gradients."""
    scores = unit.scores(candidates, sequence)
    weights = torch.softmax(scores + (1 - mask).unsqueeze(1) * pooling.MASKED, dim=-1)
    return torch.matmul(weights * mask.unsqueeze(1), sequence)


def drawn(requests: int, candidates: int, sequences: int, length: int) -> tuple[Tensor, ...]:
    """Candidates, sequences, a mask of every length from 0 up, and a gradient to hand back."""
    generator = torch.Generator().manual_seed(requests + 7 * candidates + 31 * length)
    mask = (torch.arange(length) < torch.arange(sequences)[:, None] % (length + 1)).float()
    sequence = torch.randn(sequences, length, WIDTH, generator=generator) * mask.unsqueeze(-1)
    shape = (requests, candidates, WIDTH)
    given_back = torch.randn(shape, generator=generator)
    return torch.randn(shape, generator=generator), sequence, mask, given_back


def gradients(
    unit: TargetAttention,
    pool: Pool,
    candidates: Tensor,
    sequence: Tensor,
    rest: tuple[Tensor, ...],
) -> dict[str, Tensor]:
    """What was pooled, and every gradient by name."""
    mask, given_back = rest
    inputs = {"candidates": candidates.clone(), "sequence": sequence.clone()}
    for value in inputs.values():
        value.requires_grad_()
    unit.zero_grad()
    pooled = pool(inputs["candidates"], inputs["sequence"], mask)
    torch.autograd.backward(pooled, given_back)
    named = {**inputs, **dict(unit.named_parameters())}
    found = {name: value.grad for name, value in named.items() if value.grad is not None}
    return {"pooled": pooled.detach(), **{name: value.clone() for name, value in found.items()}}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal but for rounding; the scores' bias, which cancels in the softmax, aside."""
    assert set(expected) - set(found) <= {"out.bias"}
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=2e-5, rtol=1e-4, msg=name)


@given(requests=st.integers(1, 9), candidates=st.integers(1, 3), length=st.integers(1, 6))
def test_values_and_gradients_are_those_of_the_formula(
    requests: int, candidates: int, length: int
) -> None:
    """Sorting by length, cutting into pieces and one's own gradients change nothing."""
    unit = attention()
    query, sequence, *rest = drawn(requests, candidates, requests, length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "PAIRS", 7)
        found = gradients(unit, unit, query, sequence, tuple(rest))
    expected = gradients(unit, lambda *given: plain(unit, *given), query, sequence, tuple(rest))
    assert_equal(found, expected)


@given(requests=st.integers(1, 9), sequences=st.integers(1, 4), seed=st.integers(0, 99))
def test_shared_sequences_are_those_of_each_reader(
    requests: int, sequences: int, seed: int
) -> None:
    """Rows that name one sequence get, and give back, what copies of it would."""
    unit = attention()
    readers = torch.randint(
        0, sequences, (requests,), generator=torch.Generator().manual_seed(seed)
    )
    query, sequence, mask, given_back = drawn(requests, 2, sequences, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "PAIRS", 11)
        found = gradients(
            unit, lambda *given: unit(*given, readers), query, sequence, (mask, given_back)
        )
    expected = gradients(
        unit,
        lambda q, s, m: plain(unit, q, s[readers], m[readers]),
        query,
        sequence,
        (mask, given_back),
    )
    assert_equal(found, expected)


def test_the_gradient_is_that_of_a_small_step() -> None:
    """In double precision the gradients equal differences of the values."""
    unit = attention().double()
    query, sequence, mask, _ = drawn(3, 2, 3, 4)
    inputs = (query.double().requires_grad_(), sequence.double().requires_grad_())
    assert torch.autograd.gradcheck(lambda q, s: unit(q, s, mask.double()), inputs)


def test_a_mask_may_have_holes() -> None:
    """A step that is not real counts for nothing, wherever it stands."""
    unit = attention()
    query, sequence, _, _ = drawn(4, 2, 4, 5)
    mask = torch.tensor([[0.0, 1, 0, 1, 0]]).expand(4, 5)
    torch.testing.assert_close(
        unit(query, sequence, mask), plain(unit, query, sequence, mask), atol=1e-5, rtol=1e-5
    )
