"""A Transformer layer of which one row alone is read: a sequence summed up in one vector."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.pooling import MASKED


class TransformerReadout(nn.Module):
    """A pre-norm Transformer encoder layer, computed for one query row per sequence.

    Only the row that is read needs a query, so keys and values need no projection step by step:
    ``q . (Wk x) = (Wk' q) . x`` and ``sum a (Wv x) = Wv (sum a x)``. The result is that of the
    whole layer at that row, at a fraction of its cost.
    """

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        """Make the layer.

        Args:
            width: D of rows and result.
            heads: h, which divides D.
            feed_forward: hidden width of the second half.

        Raises:
            ValueError: when ``heads`` does not divide ``width``.
        """
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width}: expected a multiple of the {heads} attention heads")
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        # A bias of the keys would add one number to all scores of a query: no effect.
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.joined = nn.Linear(width, width)
        self.before_feed_forward = nn.LayerNorm(width)
        self.widen = nn.Linear(width, feed_forward)
        self.narrow = nn.Linear(feed_forward, width)

    def forward(self, query_RD: Tensor, rows_RLD: Tensor, mask_RL: Tensor) -> Tensor:
        """Read the layer at one row of each sequence.

        Args:
            query_RD: float32 ``[R, D]``: the row that is read; it stands among ``rows_RLD`` too.
            rows_RLD: float32 ``[R, L, D]``: all rows that it attends to.
            mask_RL: float32 ``[R, L]``; 1 = real, 0 = padded; one real row at least.

        Returns:
            float32 ``[R, D]``.
        """
        attended = query_RD + self._attention(query_RD, rows_RLD, mask_RL)
        hidden = F.relu(self.widen(self.before_feed_forward(attended)))
        summed: Tensor = attended + self.narrow(hidden)
        return summed

    def _attention(self, query_RD: Tensor, rows_RLD: Tensor, mask_RL: Tensor) -> Tensor:
        head = query_RD.shape[-1] // self.heads
        rows = self.before_attention(rows_RLD)
        query = self.query(self.before_attention(query_RD)).view(-1, self.heads, head)
        key = self.key.weight.view(self.heads, head, -1)
        folded_RhD = torch.einsum("rhe,hed->rhd", query, key) / math.sqrt(head)
        scores = folded_RhD @ rows.transpose(1, 2) + (1.0 - mask_RL.unsqueeze(1)) * MASKED
        pooled_RhD = torch.softmax(scores, dim=-1) @ rows
        value = self.value.weight.view(self.heads, head, -1)
        read = torch.einsum("rhd,hed->rhe", pooled_RhD, value).flatten(1) + self.value.bias
        joined: Tensor = self.joined(read)
        return joined
