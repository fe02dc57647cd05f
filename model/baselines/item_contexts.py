"""Item contexts: what users had bought up to each purchase of an item, before training began."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.spec import PAD, age_buckets

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ItemContexts:
    """P purchases before training, found by item; and who counts as head.

    A context is named by the purchase that it ends at, as its position in ``items``.
    """

    items: Ints
    """int64 ``[P]`` catalogue rows, user by user, oldest first."""
    times_s: Ints
    """int64 ``[P]`` seconds."""
    begins: Ints
    """int64 ``[P]``: position of the same user's first purchase."""
    events: Ints
    """int64 ``[E]``: contexts, item by item, oldest first."""
    offsets: Ints
    """int64 ``[I + 3]``: item n's contexts are ``events[offsets[n]:offsets[n + 1]]``."""
    counts: Ints
    """int64 ``[I + 2]``: all purchases of each item."""
    item_threshold: int
    """Purchases that a head item exceeds."""
    user_threshold: int
    """Purchases that a head user exceeds; 2 at least."""
    user_longest: int
    """Most purchases of a user."""

    def available(self, rows: Ints) -> Ints:
        """Number of contexts of each item.

        Args:
            rows: int64 ``[n]`` catalogue rows.

        Returns:
            int64 ``[n]``.
        """
        sizes: Ints = self.offsets[rows + 1] - self.offsets[rows]
        return sizes

    def latest(self, rows: Ints, limit: int) -> Ints:
        """The newest contexts of each item.

        Args:
            rows: int64 ``[n]``.
            limit: contexts per item at most.

        Returns:
            int64 ``[n, limit]``, newest first; -1 where there are fewer.
        """
        places = self.offsets[rows + 1][:, None] - 1 - np.arange(limit)
        return self._events(places, places >= self.offsets[rows][:, None])

    def drawn(self, rows: Ints, share: NDArray[np.float32], sizes: Ints) -> Ints:
        """Contexts of each item drawn by chance, with replacement.

        Args:
            rows: int64 ``[n]``, items with a context each.
            share: float32 ``[n, limit]`` in [0, 1): which context, as a share of those there are.
            sizes: int64 ``[n]``: how many, in 1..limit.

        Returns:
            int64 ``[n, limit]``; -1 beyond ``sizes``.
        """
        available = self.available(rows)[:, None]
        chosen = np.minimum((share * available).astype(np.int64), available - 1)
        real = np.arange(share.shape[1]) < sizes[:, None]
        return self._events(self.offsets[rows][:, None] + chosen, real)

    def prefixes(self, events: Ints, steps: int) -> tuple[Ints, Ints]:
        """What the user had bought up to and with a purchase.

        Args:
            events: int64 ``[n]`` contexts.
            steps: purchases kept, the newest.

        Returns:
            Catalogue rows and age buckets at that moment, int64 ``[n, steps]`` each, oldest
            first, padded at the end.
        """
        begins = np.maximum(self.begins[events], events - steps + 1)
        places = begins[:, None] + np.arange(steps)
        real = places <= events[:, None]
        places = np.where(real, places, 0)
        ages = age_buckets(self.times_s[events][:, None] - self.times_s[places])
        return np.where(real, self.items[places], PAD), np.where(real, ages, PAD)

    def _events(self, places: Ints, real: NDArray[np.bool_]) -> Ints:
        if not len(self.events):
            return np.full(places.shape, -1)
        return np.where(real, self.events[np.where(real, places, 0)], -1)
