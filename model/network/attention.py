"""Target attention: what of a sequence matters for a candidate."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.layers import MatchingLinear
from model.network.linear import linear
from model.network.pooling import MASKED, Unit, pool


class TargetAttention(nn.Module):
    """DIN's attention unit over [q; k; q-k; q*k], with a masked softmax (docs/model.md).

    Its first layer also reads the dot product of each field of q and k.
    """

    def __init__(self, fields: Sequence[int], hidden: tuple[int, int]) -> None:
        """Make the unit.

        Args:
            fields: widths of a token's fields; their sum is D.
            hidden: widths of its two hidden layers.
        """
        super().__init__()
        self.first = MatchingLinear([sum(fields)] * 4, hidden[0], fields)
        self.second = nn.Linear(hidden[0], hidden[1])
        self.out = nn.Linear(hidden[1], 1)

    def scores(self, candidates_RCD: Tensor, sequence_RLD: Tensor) -> Tensor:
        """Relevance of each step for each candidate, before the softmax.

        The first layer is split exactly: W[q; k; q-k; q*k] =
        (Wq + Wd) q + (Wk - Wd) k + Wp (q*k), so that no ``[R,C,L,4D]`` tensor is built.

        Args:
            candidates_RCD: float32 ``[R, C, D]``.
            sequence_RLD: float32 ``[R, L, D]``.

        Returns:
            float32 ``[R, C, L]``.
        """
        of_q, of_k, of_difference, of_product = self.first.columns()
        query = F.linear(candidates_RCD, of_q + of_difference, self.first.bias)
        key = F.linear(sequence_RLD, of_k - of_difference)
        product = F.linear(candidates_RCD.unsqueeze(2) * sequence_RLD.unsqueeze(1), of_product)
        hidden = F.relu(query.unsqueeze(2) + key.unsqueeze(1) + product)
        scores: Tensor = self.out(F.relu(self.second(hidden)))
        return scores.squeeze(-1)

    def forward(
        self,
        candidates_RCD: Tensor,
        sequence_SLD: Tensor,
        mask_SL: Tensor,
        sequence_R: Tensor | None = None,
    ) -> Tensor:
        """Pool a sequence for each candidate.

        Args:
            candidates_RCD: float32 ``[R, C, D]``.
            sequence_SLD: float32 ``[S, L, D]``; padded rows are zero.
            mask_SL: float32 ``[S, L]``; 1 = real, 0 = padded.
            sequence_R: int64 ``[R]``: which sequence each row reads, where rows share them; None:
                S = R, each row its own.

        Returns:
            float32 ``[R, C, D]``; the zero vector where nothing is real.
        """
        if torch.compiler.is_compiling():
            return self._exported(candidates_RCD, sequence_SLD, mask_SL)
        of_q, of_k, of_difference, of_product = self.first.columns()
        query = linear(candidates_RCD, of_q + of_difference, self.first.bias)
        # The bias of the scores cancels in the softmax.
        unit = Unit(
            key=of_k - of_difference,
            product=of_product,
            second=self.second.weight,
            second_bias=self.second.bias,
            out=self.out.weight.squeeze(0),
        )
        return pool(candidates_RCD, sequence_SLD, mask_SL, sequence_R, query, unit)

    def _exported(self, candidates_RCD: Tensor, sequence_RLD: Tensor, mask_RL: Tensor) -> Tensor:
        """The plain form, of which a graph is made."""
        mask = mask_RL.unsqueeze(1)
        scores = self.scores(candidates_RCD, sequence_RLD) + (1.0 - mask) * MASKED
        return torch.matmul(torch.softmax(scores, dim=-1) * mask, sequence_RLD)
