"""Pooling: the attention unit over many sequences, in pieces small enough for the cache."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.network.linear import product

PAIRS = 8192
"""(Candidate, step) pairs of one piece, about: 2 MiB of its widest hidden layer."""
MASKED = -1e9


@dataclass(frozen=True, eq=False)
class Unit:
    """Weights of an attention unit whose first layer is split (``TargetAttention``)."""

    key: Tensor
    """``[H1, D]``: the first layer's part over a step of the sequence."""
    product: Tensor
    """``[H1, D]``: its part over candidate x step."""
    second: Tensor
    """``[H2, H1]``."""
    second_bias: Tensor
    """``[H2]``."""
    out: Tensor
    """``[H2]``."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some sequences of like length, and the rows that read them."""

    length: int
    sequences: Tensor
    rows: Tensor
    place: Tensor | None
    """Where each row's sequence stands in the piece; None where rows and sequences are one."""

    def steps(self, sequence_SLD: Tensor) -> Tensor:
        return sequence_SLD[:, : self.length].index_select(0, self.sequences)

    def spread(self, of_sequences: Tensor) -> Tensor:
        """From the piece's sequences to its rows."""
        return of_sequences if self.place is None else of_sequences.index_select(0, self.place)

    def gathered(self, of_rows: Tensor) -> Tensor:
        """The gradient of ``spread``."""
        if self.place is None:
            return of_rows
        total = of_rows.new_zeros(len(self.sequences), *of_rows.shape[1:])
        return total.index_add_(0, self.place, of_rows)


def _pieces(mask_SL: Tensor, sequence_R: Tensor | None, candidates: int) -> Iterator[_Piece]:
    """Sequences in the order of their lengths; empty ones, which pool to zero, are left out."""
    steps = torch.arange(1, mask_SL.shape[1] + 1, device=mask_SL.device)
    length, order = ((mask_SL > 0) * steps).amax(1).sort(stable=True)
    if sequence_R is None:
        readers, rows, place = torch.ones_like(length), order, None
    else:
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        place, rows = rank[sequence_R].sort(stable=True)
        readers = place.bincount(minlength=len(order))
    pairs = (length * readers * candidates).cumsum(0)
    piece = (pairs - 1).div(PAIRS, rounding_mode="floor")
    ends = [*(torch.nonzero(piece.diff()).squeeze(1) + 1).tolist(), len(order)]
    row_ends = [0, *readers.cumsum(0).tolist()]
    begin = int((pairs == 0).sum())
    for end in ends:
        if end > begin:
            at = slice(row_ends[begin], row_ends[end])
            local = None if place is None else place[at] - begin
            yield _Piece(int(length[end - 1]), order[begin:end], rows[at], local)
            begin = end


def pool(
    candidates_RCD: Tensor,
    sequence_SLD: Tensor,
    mask_SL: Tensor,
    sequence_R: Tensor | None,
    query_RCH: Tensor,
    unit: Unit,
) -> Tensor:
    """Pool each row's sequence for each of its candidates.

    Args:
        candidates_RCD: float32 ``[R, C, D]``.
        sequence_SLD: float32 ``[S, L, D]``.
        mask_SL: float32 ``[S, L]``; 1 = real, 0 = padded.
        sequence_R: int64 ``[R]``: the sequence that each row reads; None: row r reads sequence r.
        query_RCH: float32 ``[R, C, H1]``: the first layer's part over the candidate, and its bias.
        unit: the other weights.

    Returns:
        float32 ``[R, C, D]``; the zero vector where nothing is real.
    """
    weights = (unit.key, unit.product, unit.second, unit.second_bias, unit.out)
    pooled: Tensor = _Pool.apply(  # type: ignore[no-untyped-call]
        candidates_RCD, sequence_SLD, mask_SL, sequence_R, query_RCH, *weights
    )
    return pooled


@dataclass(frozen=True, eq=False)
class _Kept:
    """What the backward pass of a piece needs of its forward pass."""

    piece: _Piece
    first: Tensor
    second: Tensor
    attention: Tensor


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        candidates: Tensor,
        sequences: Tensor,
        mask: Tensor,
        sequence_R: Tensor | None,
        query: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        unit = Unit(*weights)
        pooled = torch.zeros_like(candidates)
        ctx.kept = []
        for piece in _pieces(mask, sequence_R, candidates.shape[1]):
            steps = piece.steps(sequences)
            kept = _attend(piece, candidates, steps, piece.steps(mask), query, unit)
            pooled.index_copy_(0, piece.rows, torch.bmm(kept.attention, piece.spread(steps)))
            ctx.kept.append(kept)
        ctx.save_for_backward(candidates, sequences, query, *weights)
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        candidates, sequences, query, *weights = ctx.saved_tensors
        sums = _Sums(candidates, sequences, query, Unit(*weights))
        for kept in ctx.kept:
            sums.add(kept, gradients[0])
        return sums.candidates, sums.sequences, None, None, sums.query, *sums.weights


def _attend(
    piece: _Piece, candidates: Tensor, steps: Tensor, mask: Tensor, query: Tensor, unit: Unit
) -> _Kept:
    """Attention of a piece: n rows, C candidates, l steps."""
    chosen = candidates.index_select(0, piece.rows).unsqueeze(2)
    of_pairs = chosen * piece.spread(steps).unsqueeze(1)
    shape = of_pairs.shape[:3]
    first = product(of_pairs.flatten(0, 2), unit.product).view(*shape, -1)
    key = product(steps.flatten(0, 1), unit.key).view(*steps.shape[:2], -1)
    first += piece.spread(key).unsqueeze(1)
    first += query.index_select(0, piece.rows).unsqueeze(2)
    first.relu_()
    second = product(first.flatten(0, 2), unit.second, unit.second_bias, relu=True)
    scores = torch.mv(second, unit.out).view(shape)
    scores += ((1 - piece.spread(mask)) * MASKED).unsqueeze(1)
    return _Kept(piece, first.flatten(0, 2), second, torch.softmax(scores, dim=-1))


class _Sums:
    """Gradients, summed over the pieces."""

    def __init__(self, candidates: Tensor, sequences: Tensor, query: Tensor, unit: Unit) -> None:
        self._of, self._unit = (candidates, sequences), unit
        self.candidates = torch.zeros_like(candidates)
        self.sequences = torch.zeros_like(sequences)
        self.query = torch.zeros_like(query)
        named = (unit.key, unit.product, unit.second, unit.second_bias, unit.out)
        self.weights = [torch.zeros_like(weight) for weight in named]

    def add(self, kept: _Kept, gradient: Tensor) -> None:
        """Add a piece, from the gradient of what was pooled, ``[R, C, D]``."""
        piece, unit = kept.piece, self._unit
        steps = piece.steps(self._of[1])
        spread = piece.spread(steps)
        given = gradient.index_select(0, piece.rows)
        of_first = self._add_scores(kept, torch.bmm(given, spread.transpose(1, 2)))
        n, count, length = kept.attention.shape
        by_pair = of_first.view(n, count, length, -1)
        self.query.index_copy_(0, piece.rows, by_pair.sum(2))
        of_steps = self._add_products(piece, of_first, spread)
        of_steps += _outer(kept.attention, given)
        of_steps = piece.gathered(of_steps)
        of_keys = piece.gathered(_over_candidates(by_pair)).flatten(0, 1)
        self.weights[0] += product(of_keys.t(), steps.flatten(0, 1).t())
        of_steps += product(of_keys, unit.key.t()).view(of_steps.shape)
        self.sequences[:, :length].index_copy_(0, piece.sequences, of_steps)

    def _add_scores(self, kept: _Kept, of_attention: Tensor) -> Tensor:
        """From the attention's gradient to that of the first hidden layer, ``[pairs, H1]``."""
        attention, unit = kept.attention, self._unit
        inner = (of_attention * attention).sum(-1, keepdim=True)
        of_scores = ((of_attention - inner) * attention).flatten()
        of_second = _where_positive(torch.outer(of_scores, unit.out), kept.second)
        self.weights[4] += torch.mv(kept.second.t(), of_scores)
        self.weights[3] += of_second.sum(0)
        self.weights[2] += product(of_second.t(), kept.first.t())
        return _where_positive(product(of_second, unit.second.t()), kept.first)

    def _add_products(self, piece: _Piece, of_first: Tensor, spread: Tensor) -> Tensor:
        """Gradients through candidate x step; returns that of the rows' steps, ``[n, l, D]``."""
        chosen = self._of[0].index_select(0, piece.rows).unsqueeze(2)
        of_pairs = chosen * spread.unsqueeze(1)
        self.weights[1] += product(of_first.t(), of_pairs.flatten(0, 2).t())
        gradient = product(of_first, self._unit.product.t()).view(of_pairs.shape)
        torch.mul(gradient, spread.unsqueeze(1), out=of_pairs)
        self.candidates.index_copy_(0, piece.rows, of_pairs.sum(2))
        return _over_candidates(gradient.mul_(chosen))


def _over_candidates(of_pairs: Tensor) -> Tensor:
    """Sum ``[n, C, l, width]`` over C; one candidate is not copied."""
    return of_pairs.squeeze(1) if of_pairs.shape[1] == 1 else of_pairs.sum(1)


def _outer(attention: Tensor, given: Tensor) -> Tensor:
    """Sum over candidates of attention x gradient, ``[n, l, D]``."""
    over_steps = attention.transpose(1, 2)
    return over_steps * given if given.shape[1] == 1 else torch.bmm(over_steps, given)


def _where_positive(gradient: Tensor, activation: Tensor) -> Tensor:
    """The gradient before a ReLU, in place."""
    torch.ops.aten.threshold_backward.grad_input(gradient, activation, 0, grad_input=gradient)
    return gradient
