"""Click history: the last clicks of each context with their outcome, for models that read them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.network.batch import BOUGHT, LEFT, PENDING, ClickArrays, SplitRows
from model.spec import PAD, SECONDS_PER_DAY, age_buckets
from offline.histories import Ints

ATTRIBUTION_S = SECONDS_PER_DAY
"""A click's outcome is not known before this long after it."""


@dataclass(frozen=True, eq=False)
class ClickLog:
    """The rows of all periods, sorted by user, then time."""

    users: Ints
    """int64 ``[N]`` positions in the users table."""
    times: Ints
    """int64 ``[N]`` seconds."""
    items: Ints
    """int64 ``[N]`` catalogue rows."""
    bought: NDArray[np.bool_]
    """bool ``[N]``."""

    @classmethod
    def of(cls, splits: list[SplitRows]) -> "ClickLog":
        """The rows of splits; equal times keep the order given.

        Clicks before training are not among them: where a data set has such clicks they count
        as activity alone.
        """
        users = np.concatenate([rows.context_user[rows.row_context] for rows in splits])
        times = np.concatenate([rows.context_time[rows.row_context] for rows in splits])
        order = np.lexsort((times, users))
        items = np.concatenate([rows.row_item for rows in splits])
        bought = np.concatenate([rows.label for rows in splits]) > 0
        return cls(users[order], times[order], items[order], bought[order])

    def before(self, rows: SplitRows, length: int) -> ClickArrays:
        """The last clicks strictly before each context.

        Args:
            rows: N_ctx contexts.
            length: clicks at most.

        Returns:
            ``[N_ctx, length]``, oldest first, padded at the end; the outcome of a click less
            than a day old is pending, so that no row sees its own.
        """
        moments = np.asarray(rows.context_time)
        own = np.searchsorted(self.users, rows.context_user)
        end = self._places(np.asarray(rows.context_user), moments)
        begin = np.maximum(own, end - length)
        steps = np.arange(length)
        real = steps < (end - begin)[:, None]
        place = np.where(real, begin[:, None] + steps, 0)
        age_s = moments[:, None] - self.times[place]
        outcome = np.where(self.bought[place], BOUGHT, LEFT)
        outcome[age_s < ATTRIBUTION_S] = PENDING
        return ClickArrays(
            items=np.where(real, self.items[place], PAD).astype(np.int32),
            ages=np.where(real, age_buckets(age_s), PAD).astype(np.int8),
            outcomes=np.where(real, outcome, PAD).astype(np.int8),
        )

    def _places(self, users: Ints, moments: Ints) -> Ints:
        """Where each user's clicks strictly before a moment end."""
        start = int(self.times.min(initial=0))
        span = int(self.times.max(initial=start)) - start + 2
        key = self.users * span + (self.times - start)
        wanted = users * span + np.clip(moments - start, 0, span - 1)
        return np.searchsorted(key, wanted, side="left")
