"""The reliability network: how far to trust the group channel, from the user's activity."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.layers import ZeroLinear


class Reliability(nn.Module):
    """One MLP with two sigmoid heads, alpha_fusion and alpha_distill; both start at 0.5."""

    def __init__(self, activity: int, hidden: tuple[int, int]) -> None:
        """Make the network.

        Args:
            activity: number of activity features.
            hidden: widths of the two hidden layers.
        """
        super().__init__()
        self.first = nn.Linear(activity, hidden[0])
        self.second = nn.Linear(hidden[0], hidden[1])
        self.fusion = ZeroLinear(hidden[1], 1)
        self.distill = ZeroLinear(hidden[1], 1)

    def _hidden(self, activity: Tensor) -> Tensor:
        hidden: Tensor = F.relu(self.second(F.relu(self.first(activity))))
        return hidden

    def forward(self, activity: Tensor) -> Tensor:
        """``alpha_fusion`` of eq. 10.

        Args:
            activity: float32 ``[R, 5]`` in the order of ``spec.ACTIVITY_FEATURES``.

        Returns:
            float32 ``[R, 1]`` in [0, 1].
        """
        return torch.sigmoid(self.fusion(self._hidden(activity)))

    def alpha_distill(self, activity: Tensor) -> Tensor:
        """``alpha_distill`` of eq. 9, float32 ``[R, 1]`` in [0, 1]; trained, never exported."""
        return torch.sigmoid(self.distill(self._hidden(activity)))
