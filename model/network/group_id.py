"""The group id: code rows of every level, fused from coarse to fine (eq. 4-5)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.layers import CodeTable

NORM_EPS = 1e-12


class GroupCodes(nn.Module):
    """One table of k + 1 rows per level; row k stands for "no group" (eq. 4)."""

    def __init__(self, levels: int, codes_per_level: int, width: int) -> None:
        """Make the tables.

        Args:
            levels: M.
            codes_per_level: k.
            width: d_e.
        """
        super().__init__()
        self.levels = nn.ModuleList(CodeTable(codes_per_level + 1, width) for _ in range(levels))

    def forward(self, codes_RM: Tensor) -> Tensor:
        """Look up the base embeddings (eq. 4).

        Args:
            codes_RM: int64 ``[R, M]`` in 0..k.

        Returns:
            float32 ``[R, M, d_e]``.
        """
        return torch.stack([table(codes_RM[:, n]) for n, table in enumerate(self.levels)], dim=1)


class GroupId(nn.Module):
    """Prefix fusion and final aggregation of the code rows (eq. 5)."""

    def __init__(self, levels: int, width: int) -> None:
        """Make the layers.

        Args:
            levels: M.
            width: d_e, also the width of e_G.
        """
        super().__init__()
        self.fusion = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(levels - 1))
        self.aggregation = nn.Sequential(
            nn.Linear(levels * width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def fused(self, base_RME: Tensor) -> list[Tensor]:
        """Fuse each level with its parents (eq. 5).

        Args:
            base_RME: float32 ``[R, M, d_e]`` base embeddings.

        Returns:
            M tensors float32 ``[R, d_e]``; the first is the first base embedding itself.
        """
        fused = [base_RME[:, 0]]
        for level, layer in enumerate(self.fusion, start=1):
            fused.append(torch.tanh(layer(torch.cat([fused[-1], base_RME[:, level]], dim=-1))))
        return fused

    def forward(self, base_RME: Tensor) -> Tensor:
        """The group id representation e_G.

        Args:
            base_RME: float32 ``[R, M, d_e]``.

        Returns:
            float32 ``[R, d_e]`` of unit L2 norm.
        """
        joined = self.aggregation(torch.cat(self.fused(base_RME), dim=-1))
        return F.normalize(joined, dim=-1, eps=NORM_EPS)
