"""Shops: versions and generations to serve, and what each pair must answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.desired import Target
from tests.fixtures.redis import RedisServer

Logits = NDArray[np.float64]

HOUR, WEEKDAY = 13, 2


@dataclass(frozen=True)
class Ask:
    """One user and candidates, at the shop's moment, ``HOUR`` and ``WEEKDAY``."""

    user_id: str
    item_ids: tuple[str, ...]


@dataclass(frozen=True)
class Logit:
    """What a target must answer to an ask: float64 ``[C]``, ``[C]`` and one number."""

    individual: Logits
    group: Logits
    alpha_fusion: float


class Shop(Protocol):
    """Versions of one feature contract, any number of them, and generations that differ."""

    @property
    def time_s(self) -> int:
        """The moment of every request, in seconds since the epoch."""
        ...

    @property
    def user_ids(self) -> Sequence[str]:
        """Users with a record in every generation."""
        ...

    @property
    def item_ids(self) -> Sequence[str]:
        """Items of every version's catalogue."""
        ...

    @property
    def candidates(self) -> int:
        """Of one ask."""
        ...

    def write(self, version: int, folder: Path) -> None:
        """Write a version's bundle.

        Args:
            version: the model version.
            folder: made.
        """
        ...

    def publish(self, generation: str, redis: RedisServer) -> None:
        """Write a generation's records.

        Args:
            generation: ``g<number>``.
            redis: a server that runs.
        """
        ...

    def expected(self, target: Target, ask: Ask) -> Logit:
        """What a target must answer, by other code than the service's."""
        ...


def turn(generation: str, users: int) -> int:
    """By how many places a generation's records are shifted among the users.

    Args:
        generation: ``g<number>``.
        users: how many there are.
    """
    return int(generation.removeprefix("g")) % users
