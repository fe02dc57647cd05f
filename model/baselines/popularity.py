"""Popularity alone: how often an item was bought before training; nothing is trained."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network.batch import Batch
from model.network.contract import ConversionModel, Output


class Popularity(ConversionModel):
    """The logit is the logarithm of an item's earlier purchases."""

    log_purchases: Tensor

    def __init__(self, purchases: NDArray[np.int64]) -> None:
        """Make the model.

        Args:
            purchases: int64 ``[I + 2]``: by catalogue row, before training.
        """
        super().__init__()
        log = np.log1p(purchases).astype(np.float32)
        self.register_buffer("log_purchases", torch.from_numpy(log), persistent=False)

    def forward(self, batch: Batch) -> Output:
        """Score a batch."""
        return Output(logit=self.log_purchases[batch.candidates])
