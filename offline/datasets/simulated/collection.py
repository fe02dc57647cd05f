"""The collection: rows of blocks that come in any order, waiting to be written in theirs."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.blocks import Block
from offline.datasets.simulated.clicks import DAY_S
from offline.datasets.simulated.constants import CONSTANTS
from offline.datasets.simulated.names import ATTRIBUTES, STYLES
from offline.datasets.simulated.queries import query_code
from offline.datasets.simulated.segments import Segments
from offline.datasets.simulated.spill import Spill
from offline.datasets.simulated.world import World
from offline.engine import ROW_GROUP_ROWS

BUCKET_USERS: Final = 1_000_000
"""Users up to whose number a day's clicks are sorted at once."""
FIRST_CLICK: Final = 2**18
"""A user's clicks of the simulated days are numbered from here, counted ones before from 0."""
FIRST_PANEL: Final = 2**19
NOT_DRAWN: Final = -1
"""The intent of clicks that only count."""
CLICK_COLUMNS: Final = [("item", "<i4"), ("probability", "<f4"), ("intent", "i1"), ("label", "i1")]
PANEL_COLUMNS: Final = [*CLICK_COLUMNS, ("archetype_appeal", "<f4"), ("quality", "<f4")]
USER_COLUMNS: Final[dict[str, tuple[Any, ...]]] = {
    "attributes": ("i1", (len(ATTRIBUTES),)),
    "archetype": ("<i2",),
    "z_click": ("<f4",),
    "z_long": ("<f4",),
    "rate": ("<f4",),
    "bias": ("<f4",),
    "omega": ("<f4", (CONSTANTS.factors,)),
    "delta": ("<f4",),
    "eta": ("<f4", (len(STYLES),)),
}

Ints = NDArray[np.int64]


class Collection:
    """Takes blocks in any order; what it gives back does not show the order."""

    def __init__(self, scratch: Path, world: World, n_users: int) -> None:
        """Make the collection.

        Args:
            scratch: a folder, new or empty, for the rows that wait.
            world: the world.
            n_users: users of the data set.
        """
        constants = world.constants
        bucket_s = min(DAY_S, DAY_S * BUCKET_USERS // n_users)
        year_s = -constants.history_days * DAY_S
        month_s = -constants.count_days * DAY_S
        self._constants = constants
        self._quality = world.items.quality
        self.segments = Segments.empty(n_users)
        self.users = Spill(
            scratch / "users", 0, 1, [(name, *kind) for name, kind in USER_COLUMNS.items()]
        )
        self.clicks = Spill(scratch / "clicks", month_s, bucket_s, CLICK_COLUMNS)
        self.purchases = Spill(scratch / "purchases", year_s, 5 * bucket_s, [])
        self.searches = Spill(scratch / "searches", year_s, 5 * bucket_s, [])
        self.panel = Spill(scratch / "panel", 0, DAY_S, PANEL_COLUMNS)

    def add(self, block: Block) -> None:
        """Take a block in."""
        self.segments.add(block, self._constants)
        self._add_users(block)
        self._add_clicks(block)
        self._add_panel(block)
        clicks, past, queries = block.clicks, block.purchases, block.queries
        bought = np.flatnonzero(clicks.label)
        self.purchases.add(past.time_s, block.start + past.user, past.item.astype(np.int64))
        self.purchases.add(
            clicks.time_s[bought] + clicks.delay_s[bought],
            block.start + clicks.user[bought],
            clicks.item[bought].astype(np.int64),
        )
        code = query_code(queries.leaf, queries.price, queries.style)
        self.searches.add(queries.time_s, block.start + queries.user, code)

    def _add_users(self, block: Block) -> None:
        users = block.users
        number = block.start + np.arange(len(users))
        columns = {name: getattr(users, name) for name in USER_COLUMNS}
        # One bucket for each row group; there is no time to sort by.
        self.users.add(number // ROW_GROUP_ROWS, number, np.zeros_like(number), **columns)

    def _add_clicks(self, block: Block) -> None:
        past, clicks = block.past_clicks, block.clicks
        self.clicks.add(
            past.time_s,
            block.start + past.user,
            _places(past.user),
            item=past.item,
            probability=np.full(len(past.user), np.nan, np.float32),
            intent=np.full(len(past.user), NOT_DRAWN, np.int8),
            label=np.zeros(len(past.user), np.int8),
        )
        self.clicks.add(
            clicks.time_s,
            block.start + clicks.user,
            FIRST_CLICK + _places(clicks.user),
            item=clicks.item,
            probability=clicks.probability,
            intent=clicks.kind,
            label=clicks.label,
        )

    def _add_panel(self, block: Block) -> None:
        panel = block.panel
        self.panel.add(
            panel.time_s,
            block.start + panel.user,
            FIRST_PANEL + _places(panel.user),
            item=panel.item,
            probability=panel.probability,
            intent=panel.kind,
            label=panel.label,
            archetype_appeal=panel.known,
            quality=self._quality[panel.item],
        )


def _places(user: Ints) -> Ints:
    """The number of each event among its user's, from 0; events stand user by user."""
    first = np.flatnonzero(np.diff(user, prepend=-1))
    return np.arange(len(user)) - np.repeat(first, np.diff(first, append=len(user)))
