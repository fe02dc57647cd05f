"""Layers that know how they start: tables of rows, zero-initialised heads, split linear layers."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from model.network.linear import Linear, linear
from model.spec import PAD

ID_STD = 0.01
FIELD_STD = 0.3


class Table(nn.Embedding):
    """An embedding table whose rows start as N(0, std); row PAD is frozen at zero."""

    def __init__(self, rows: int, width: int, std: float, sparse: bool = False) -> None:
        """Make a table.

        Args:
            rows: number of rows, PAD and OOV included.
            width: columns.
            std: standard deviation of the initial values.
            sparse: whether gradients name only the rows used (for tables of ids).
        """
        super().__init__(rows, width, padding_idx=PAD, sparse=sparse)
        self.std = std

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Look rows up.

        Args:
            input: int64, any shape.

        Returns:
            float32 of that shape and one more axis of ``width``.
        """
        if self.sparse:
            return super().forward(input)
        rows: Tensor = _Rows.apply(self.weight, input.flatten())  # type: ignore[no-untyped-call]
        return rows.view(*input.shape, self.embedding_dim)


class _Rows(torch.autograd.Function):
    """Rows of a dense table: a third of the time that torch's own takes for its gradient."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.size = len(table)
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (rows,) = ctx.saved_tensors
        total = gradients[0].new_zeros(ctx.size, gradients[0].shape[1])
        total.index_add_(0, rows, gradients[0])
        total[PAD] = 0.0
        return total, None


class CodeTable(nn.Embedding):
    """A table of group codes: every row is a real code, so none is frozen."""

    std = FIELD_STD


class ZeroTable(nn.Embedding):
    """A table whose rows start at zero: at first it adds nothing."""


class ZeroLinear(Linear):
    """A linear layer that starts as the constant zero."""


class SplitLinear(nn.Module):
    """A linear layer over a concatenation that is never built: W[a; b] = Wa a + Wb b.

    Parts may differ in their number of candidates (1 or C), so what depends on the request alone
    is multiplied once per request instead of once per candidate.
    """

    def __init__(self, parts: Sequence[int], out: int) -> None:
        """Make the layer.

        Args:
            parts: width of each part, in order.
            out: output width.
        """
        super().__init__()
        self.parts = tuple(parts)
        self.weight = nn.Parameter(torch.zeros(out, sum(self.parts)))
        self.bias = nn.Parameter(torch.zeros(out))

    def columns(self) -> tuple[Tensor, ...]:
        """The columns of the weight that belong to each part, float32 ``[out, width]`` each."""
        ends = accumulate(self.parts)
        return tuple(
            self.weight[:, end - width : end] for end, width in zip(ends, self.parts, strict=True)
        )

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Apply the layer.

        Args:
            parts: float32 tensors ``[..., width]`` whose leading axes broadcast.

        Returns:
            float32 ``[..., out]``, equal to the layer over the concatenated parts.
        """
        weights = self.columns()
        total = linear(parts[0], weights[0], self.bias)
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total = total + linear(part, weight)
        return total


class MatchingLinear(SplitLinear):
    """A split layer whose last part is the product of two tokens: it learns to match by field.

    Beside its own weights, the last part's columns of one field share a weight that starts at
    zero: the layer sees each field's dot product. That is nothing a plain layer could not express,
    but one shared weight learns it in hundreds of steps (docs/model.md), and folded into
    the plain weight it costs nothing to serve.
    """

    membership: Tensor

    def __init__(self, parts: Sequence[int], out: int, fields: Sequence[int]) -> None:
        """Make the layer.

        Args:
            parts: width of each part; the last is a token's.
            out: output width.
            fields: widths of a token's fields.
        """
        super().__init__(parts, out)
        self.match = nn.Parameter(torch.zeros(out, len(fields)))
        # The size is named so that a model can be made without memory, to count its parameters.
        membership = torch.eye(len(fields)).repeat_interleave(
            torch.tensor(fields), dim=1, output_size=sum(fields)
        )
        self.register_buffer("membership", membership, persistent=False)

    def columns(self) -> tuple[Tensor, ...]:
        """As for any split layer; the last part's columns hold their field's weight too."""
        *others, product = super().columns()
        return (*others, product + self.match @ self.membership)


def initialise(model: nn.Module, seed: int) -> None:
    """Set every parameter from the seed and its own name (docs/model.md).

    A parameter's values do not depend on which other parameters exist, so two models of one seed
    start with byte-equal values wherever their parameters share name and shape.

    Args:
        model: the model to set in place.
        seed: any integer.
    """
    with torch.no_grad():
        for name, module in model.named_modules():
            _start(module, _generator(seed, name))


def _start(module: nn.Module, generator: torch.Generator) -> None:
    match module:
        case Table():
            module.weight.normal_(0.0, module.std, generator=generator)
            module.weight[PAD] = 0.0
        case CodeTable():
            module.weight.normal_(0.0, module.std, generator=generator)
        case ZeroTable():
            module.weight.zero_()
        case ZeroLinear():
            module.weight.zero_()
            module.bias.zero_()
        case nn.Linear() | SplitLinear():
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
