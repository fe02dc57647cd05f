"""Draws: many picks from a few fixed distributions, in constant time each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class AliasTables:
    """Alias tables of several distributions, one behind another."""

    starts: NDArray[np.int64]
    """int64 ``[D]``: where each distribution's values begin."""
    sizes: NDArray[np.int64]
    """int64 ``[D]``."""
    keep: Floats
    """float32 ``[sum of sizes]``: chance to keep a slot's own value."""
    other: Ints
    """int32 ``[sum of sizes]``: the slot's other value, counted over all distributions."""

    @classmethod
    def build(cls, weights: list[NDArray[np.float64]]) -> "AliasTables":
        """From positive weights, one array per distribution (Vose's method)."""
        sizes = np.array([len(values) for values in weights], np.int64)
        starts = np.cumsum(sizes) - sizes
        tables = [_alias(values) for values in weights]
        return cls(
            starts=starts,
            sizes=sizes,
            keep=np.concatenate([keep for keep, _ in tables]).astype(np.float32),
            other=np.concatenate(
                [other + start for (_, other), start in zip(tables, starts, strict=True)]
            ).astype(np.int32),
        )

    def pick(self, rng: np.random.Generator, which: Ints) -> Ints:
        """Pick a value for each row.

        Args:
            rng: random generator.
            which: int32, any shape: the distribution of each row.

        Returns:
            int32 of the same shape: values counted over all distributions (the i-th value of
            distribution d is ``starts[d] + i``).
        """
        place = rng.random(which.shape) * self.sizes[which]
        inside = place.astype(np.int64)
        slot = self.starts[which] + inside
        picked: Ints = np.where(place - inside < self.keep[slot], slot, self.other[slot])
        return picked.astype(np.int32)


def choose(rng: np.random.Generator, utility: Floats) -> NDArray[np.int64]:
    """Choose a column of each row by softmax.

    Args:
        rng: random generator.
        utility: float32 ``[N, C]``.

    Returns:
        int64 ``[N]``: column c with probability exp(utility c) / sum of exp(utility): the first
        arrival among exponential waiting times with these rates.
    """
    waits = rng.standard_exponential(utility.shape, dtype=np.float32)
    first: NDArray[np.int64] = np.argmin(waits * np.exp(-utility), axis=1)
    return first


def _alias(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    keep = weights / weights.sum() * len(weights)
    other = np.arange(len(weights))
    small = [int(slot) for slot in np.flatnonzero(keep < 1)]
    large = [int(slot) for slot in np.flatnonzero(keep >= 1)]
    while small and large:
        low, high = small.pop(), large[-1]
        other[low] = high
        keep[high] -= 1 - keep[low]
        if keep[high] < 1:
            small.append(large.pop())
    for slot in (*small, *large):
        keep[slot] = 1.0
    return keep, other
