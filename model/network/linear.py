"""Linear maps of float32 rows by oneDNN, which has the quicker kernels for a network's sizes."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""A build of torch without oneDNN lacks it."""


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """Rows times a weight, without a gradient.

    Args:
        rows: ``[n, in]``; oneDNN is used for float32 on a CPU, torch's own product elsewhere.
        weight: ``[out, in]``, any strides.
        bias: ``[out]`` or None.
        relu: whether negative results become zero.

    Returns:
        ``[n, out]``.
    """
    if _ONEDNN and rows.device.type == "cpu" and rows.dtype == torch.float32 and rows.numel():
        after = "relu" if relu else "none"
        mapped: Tensor = torch.ops.mkldnn._linear_pointwise(
            _dense(rows), _dense(weight), bias, after, [], ""
        )
        return mapped
    mapped = F.linear(rows, weight, bias)
    return mapped.relu_() if relu else mapped


def _dense(matrix: Tensor) -> Tensor:
    """Without gaps: for columns cut out of a wider matrix oneDNN is a thousand times slower."""
    dense = matrix.is_contiguous() or matrix.t().is_contiguous()
    return matrix if dense else matrix.contiguous()


def linear(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer, with gradients; equal to torch's own up to rounding.

    Args:
        values: ``[..., in]``.
        weight: ``[out, in]``.
        bias: ``[out]`` or None.

    Returns:
        ``[..., out]``.
    """
    if torch.compiler.is_compiling():  # An exported graph holds the plain layer.
        return F.linear(values, weight, bias)
    mapped: Tensor = _Linear.apply(values, weight, bias)  # type: ignore[no-untyped-call]
    return mapped


class Linear(nn.Linear):
    """torch's linear layer by way of ``linear``."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Apply the layer.

        Args:
            input: ``[..., in]``.

        Returns:
            ``[..., out]``.
        """
        return linear(input, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(values, weight)
        rows = values.reshape(-1, values.shape[-1])
        return product(rows, weight, bias).view(*values.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        of_values, of_weight, of_bias = ctx.needs_input_grad
        given = gradients[0].reshape(-1, len(weight))
        rows = values.reshape(-1, values.shape[-1])
        return (
            product(given, weight.t()).view(values.shape) if of_values else None,
            product(given.t(), rows.t()) if of_weight else None,
            given.sum(0) if of_bias else None,
        )
