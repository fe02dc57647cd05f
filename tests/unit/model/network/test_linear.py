"""Linear maps by oneDNN."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.network.linear import Linear, linear, product


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random values that want a gradient."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


@given(rows=st.integers(0, 9), inputs=st.integers(1, 9), outputs=st.integers(1, 9))
def test_values_and_gradients_are_those_of_a_plain_layer(
    rows: int, inputs: int, outputs: int
) -> None:
    """Whatever library multiplies, a layer says and learns what torch's own does."""
    values, weight, bias = drawn(rows, 2, inputs), drawn(outputs, inputs), drawn(outputs)
    given_back = torch.randn(rows, 2, outputs, generator=torch.Generator().manual_seed(0))
    found = torch.autograd.grad(linear(values, weight, bias), [values, weight, bias], given_back)
    plain = F.linear(values, weight, bias)
    expected = torch.autograd.grad(plain, [values, weight, bias], given_back)
    torch.testing.assert_close(linear(values, weight, bias), plain, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_cut_out_of_a_wider_weight_are_read_right(dtype: torch.dtype) -> None:
    """A weight or rows with gaps between their lines give the same as a copy without."""
    wide, rows = drawn(5, 12, dtype=dtype).detach(), drawn(7, 8, dtype=dtype).detach()
    cut, narrow = wide[:, 3:7], rows[:, 2:6]
    expected = (narrow @ cut.T).relu()
    torch.testing.assert_close(product(narrow, cut, relu=True), expected, atol=1e-5, rtol=1e-5)


def test_a_layer_without_bias_and_frozen_inputs_has_no_gradient_for_them() -> None:
    """What wants no gradient gets none."""
    layer = Linear(4, 3, bias=False)
    values = drawn(2, 4).detach()
    torch.autograd.backward(layer(values).sum())
    assert values.grad is None
    assert layer.weight.grad is not None
