"""The masked softmax: weights over what is real, all of them zero where nothing is."""

import torch
from torch import Tensor


def masked_softmax(scores: Tensor, real: Tensor) -> Tensor:
    """Softmax over the last axis.

    Args:
        scores: float32 ``[..., L]``.
        real: bool, of a shape that broadcasts to it.

    Returns:
        float32 ``[..., L]``: 0 where not real; the rest sum to 1, unless nothing is real.
    """
    lowest = torch.finfo(scores.dtype).min
    return torch.softmax(scores.masked_fill(~real, lowest), dim=-1) * real
