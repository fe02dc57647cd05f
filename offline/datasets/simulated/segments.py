"""Segments: which users are low-activity, and the counts that the committed bands speak of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.blocks import Block
from offline.datasets.simulated.clicks import DAY_S
from offline.datasets.simulated.constants import Constants

Counts = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Segments:
    """Counts of N users."""

    clicks: Counts
    """int32 ``[N]``: over all days."""
    conversions: Counts
    """int32 ``[N]``: clicks that ended in a purchase, over all days."""
    purchases: Counts
    """int32 ``[N]``: of the history."""
    attributes: Counts
    """int32 ``[N]``: attributes known."""
    activity: Counts
    """int32 ``[N]``: train clicks + 3 x train buys + 2 x purchases of the last 30 days."""

    @classmethod
    def empty(cls, n_users: int) -> "Segments":
        """Counts to be filled."""
        return cls(*(np.zeros(n_users, np.int32) for _ in range(5)))

    def add(self, block: Block, constants: Constants) -> None:
        """Fill in the users of a block."""
        n = len(block.users)
        rows = slice(block.start, block.start + n)
        clicks, past = block.clicks, block.purchases
        trains = clicks.time_s < (constants.days - 2) * DAY_S
        recent = past.time_s >= -constants.low_history_days * DAY_S
        bought = clicks.label == 1
        self.clicks[rows] = np.bincount(clicks.user, minlength=n)
        self.conversions[rows] = np.bincount(clicks.user[bought], minlength=n)
        self.purchases[rows] = np.bincount(past.user, minlength=n)
        self.attributes[rows] = (block.users.attributes >= 0).sum(axis=1)
        self.activity[rows] = (
            np.bincount(clicks.user[trains], minlength=n)
            + constants.low_buy_weight * np.bincount(clicks.user[trains & bought], minlength=n)
            + constants.low_purchase_weight * np.bincount(past.user[recent], minlength=n)
        )

    def low_activity(self, share: float) -> NDArray[np.bool_]:
        """The least active users.

        Args:
            share: of all users.

        Returns:
            bool ``[N]``. Of equally active users those with fewer purchases count as less active,
            of those again the ones with the lower number.
        """
        order = np.lexsort((self.purchases, self.activity))
        low = np.zeros(len(order), np.bool_)
        low[order[: int(share * len(order))]] = True
        return low
