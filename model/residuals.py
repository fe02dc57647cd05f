"""Residuals: how far users lie from their centroids, and so how sure their groups are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.array_file import read_array, write_array

FILE_NAME = "residual_quantiles.npy"
QUANTILES = 101


@dataclass(frozen=True, eq=False)
class ResidualReference:
    """Residual norms of the users that the codebooks were fitted for, as percentiles.

    It stands beside the codebooks but is no part of their digest: it says how sure a group is, and
    never which one.
    """

    quantiles: NDArray[np.float32]
    """``[M, 101]``: percentiles 0 to 100 of the residual norm after each level; rows do not
    fall."""

    def __post_init__(self) -> None:
        """Refuse what is no table of percentiles.

        Raises:
            ValueError: naming dtype, shape or values and what was expected.
        """
        array = self.quantiles
        if array.dtype != np.float32 or array.ndim != 2 or array.shape[1] != QUANTILES:
            raise ValueError(
                f"residual quantiles are {array.dtype} {array.shape},"
                f" expected float32 [M, {QUANTILES}]"
            )
        if not (np.isfinite(array).all() and (np.diff(array, axis=1) >= 0).all()):
            raise ValueError("residual quantiles must be finite and not fall; fit the groups again")

    @classmethod
    def of(cls, norms: NDArray[np.float32]) -> "ResidualReference":
        """Measure the users that codebooks were fitted for.

        Args:
            norms: float32 ``[N, M]``, as ``Codebooks.residual_norms`` gives them; rows of NaN (no
                group) are left out, and at least one row must remain.

        Returns:
            The reference.
        """
        known = norms[~np.isnan(norms[:, 0])]
        shares = np.linspace(0, 1, QUANTILES)
        quantiles = np.quantile(known, shares, axis=0, method="lower")
        return cls(np.ascontiguousarray(quantiles.T.astype(np.float32)))

    def confidence(self, norms: NDArray[np.float32]) -> NDArray[np.float32]:
        """How sure each user's group_id is.

        Args:
            norms: float32 ``[N, M]``, as ``Codebooks.residual_norms`` gives them.

        Returns:
            float32 ``[N]`` in ``[0, 1]``, in steps of about 1 %: the share of the reference users
            who lie at least as far from their centroids after the last level. About a half for a
            typical user; 0 beyond all of them, and without a group.
        """
        # NaN sorts behind every number, so a user without a group comes out at 0.
        nearer = np.searchsorted(self.quantiles[-1], norms[:, -1], side="left")
        return ((QUANTILES - nearer) / QUANTILES).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write ``residual_quantiles.npy``; equal references give equal bytes.

        Args:
            folder: an existing folder.
        """
        write_array(folder / FILE_NAME, self.quantiles)

    @classmethod
    def load(cls, folder: Path) -> "ResidualReference":
        """Read what ``save`` wrote.

        Args:
            folder: the folder.

        Returns:
            The reference.

        Raises:
            FileNotFoundError: when there is no ``residual_quantiles.npy``.
            ValueError: when the file is no array or no table of percentiles.
        """
        return cls(read_array(folder / FILE_NAME))
