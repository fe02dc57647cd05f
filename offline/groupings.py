"""Groupings: the ways in which users get group codes, and the controls among them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.codebooks import Codebooks
from offline.datasets.simulated.constants import CONSTANTS

Kind = Literal["none", "profiles", "aligned", "user_rows", "bayes", "oracle"]
Codes = NDArray[np.int32]
SHAPE = "shape.npy"
ARCHETYPE_CODES = max(CONSTANTS.stages, CONSTANTS.tastes, CONSTANTS.philosophies)


@dataclass(frozen=True)
class Grouping:
    """A way to group users; everything after the codes is the same for all (docs/evidence.md)."""

    kind: Kind = "profiles"
    """``none``: nobody has one. ``profiles``: by embedded profiles, as served. ``aligned``: by
    behaviour-aligned profiles. ``user_rows``: by the user rows of a trained DIN. ``bayes`` and
    ``oracle``: by a guess at the archetype and by the archetype, simulator only."""
    codes_per_level: int | None = None
    """None: the sizing rule of docs/groups.md."""
    permutation: int | None = None
    """Seed of a permutation of the codes among users of one activity level: the control."""
    seed: int = 0
    """Of the model whose rows ``user_rows`` groups."""

    @property
    def name(self) -> str:
        """For results: kind, codes and control."""
        codes = "" if self.codes_per_level is None else f"_k{self.codes_per_level}"
        control = "" if self.permutation is None else "_permuted"
        return f"{self.kind}{codes}{control}"

    @property
    def simulated_only(self) -> bool:
        """Whether it needs the truth of a simulated data set."""
        return self.kind in ("bayes", "oracle")


PROFILES = Grouping()
NO_GROUPS = Grouping("none")


def permuted(codes_NM: Codes, level_N: NDArray[np.int8], seed: int) -> Codes:
    """Exchange codes among users of equal activity level.

    Args:
        codes_NM: int32 ``[N, M]``.
        level_N: ``[N]`` activity levels.
        seed: decides the permutation.

    Returns:
        int32 ``[N, M]``: within each level the same codes, handed out at random.
    """
    rng = np.random.default_rng([seed, 0x9E37])
    shuffled = codes_NM.copy()
    for level in np.unique(level_N):
        members = np.flatnonzero(level_N == level)
        shuffled[members] = codes_NM[rng.permutation(members)]
    return shuffled


def archetype_codes(archetype_N: NDArray[np.int64]) -> Codes:
    """Codes of simulated archetypes: life stage, taste, philosophy (docs/simulator.md).

    Args:
        archetype_N: int64 ``[N]``.

    Returns:
        int32 ``[N, 3]``, each below ``ARCHETYPE_CODES``.
    """
    stage, rest = np.divmod(archetype_N, CONSTANTS.tastes * CONSTANTS.philosophies)
    codes = [stage, *np.divmod(rest, CONSTANTS.philosophies)]
    return np.stack(codes, axis=1).astype(np.int32)


def no_groups(users: int) -> Codes:
    """int32 ``[N, 1]``: the code for "no group" of a single code, for everybody."""
    return np.ones((users, 1), np.int32)


def save_codes(folder: Path, codes_NM: Codes, codes_per_level: int) -> None:
    """Write codes that no codebooks stand behind."""
    np.save(folder / "codes.npy", codes_NM)
    np.save(folder / SHAPE, np.array([codes_NM.shape[1], codes_per_level]))


def group_shape(folder: Path) -> tuple[int, int]:
    """Levels M and codes per level k of a folder of groups, with or without codebooks."""
    if (folder / SHAPE).is_file():
        levels, codes = np.load(folder / SHAPE, allow_pickle=False).tolist()
        return levels, codes
    codebooks = Codebooks.load(folder)
    return codebooks.levels, codebooks.codes_per_level
