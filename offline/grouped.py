"""Grouped users: what one groups artefact holds, read back, and two of them user by user."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.codebooks import Codebooks
from model.residuals import ResidualReference
from offline.assignment import CODES, NORMS

USERS = "users.npy"
"""Keys of the user ids, uint64 ``[N]``, so that two cuts can be compared user by user."""


class NotGroups(ValueError):
    """A folder that holds no groups that could be read."""


@dataclass(frozen=True, eq=False)
class GroupedUsers:
    """Every user's group as of one cut."""

    keys: NDArray[np.uint64]
    """``[N]``: 64-bit keys of the user ids."""
    codes: NDArray[np.int32]
    """``[N, M]``; k = no group."""
    norms: NDArray[np.float32]
    """``[N, M]``: residual norms; NaN = no group."""
    codebooks: Codebooks
    reference: ResidualReference

    @classmethod
    def load(cls, folder: Path) -> "GroupedUsers":
        """Read a groups artefact.

        Raises:
            NotGroups: when a file is missing, damaged, or of other users than the rest, or when a
                code is none of the codebooks.
        """
        try:
            read = cls(
                keys=np.load(folder / USERS, allow_pickle=False),
                codes=np.load(folder / CODES, allow_pickle=False),
                norms=np.load(folder / NORMS, allow_pickle=False),
                codebooks=Codebooks.load(folder),
                reference=ResidualReference.load(folder),
            )
        except (OSError, EOFError, ValueError) as error:
            raise NotGroups(
                f"{folder} holds no groups ({error}); name a folder of the groups stage, such as"
                " var/artefacts/groups/<digest>"
            ) from error
        codes_per_level = read.codebooks.codes_per_level
        shape = (len(read.keys), read.codebooks.levels)
        if read.codes.shape != shape or read.norms.shape != shape:
            raise NotGroups(
                f"{folder}: codes {read.codes.shape}, residual norms {read.norms.shape}, expected"
                f" {shape}; the files come from different runs, build the groups again"
            )
        if read.codes.size and not 0 <= read.codes.min() <= read.codes.max() <= codes_per_level:
            raise NotGroups(
                f"{folder}: {CODES} holds codes from {read.codes.min()} to {read.codes.max()},"
                f" expected 0 to {codes_per_level} ({codes_per_level} = no group); build the groups"
                " again"
            )
        return read

    @property
    def grouped(self) -> NDArray[np.bool_]:
        """Whether each user has a group, ``[N]``."""
        has: NDArray[np.bool_] = self.codes[:, 0] != self.codebooks.codes_per_level
        return has
