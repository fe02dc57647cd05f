"""Blocks: everything that one block of users does."""

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from offline.datasets.simulated.clicks import Clicks, draw_panel
from offline.datasets.simulated.past import (
    Events,
    Queries,
    draw_past_clicks,
    draw_purchases,
    draw_queries,
)
from offline.datasets.simulated.users import Users
from offline.datasets.simulated.world import World

Rows = TypeVar("Rows", Clicks, Events, Queries)


@dataclass(frozen=True, eq=False)
class Block:
    """The users of a block that belong to a data set, and their events."""

    start: int
    """Number of the block's first user."""
    users: Users
    past_clicks: Events
    clicks: Clicks
    purchases: Events
    """Of the history; clicks that end in a purchase come on top."""
    queries: Queries
    panel: Clicks


def make_block(world: World, block: int, n_users: int) -> Block:
    """Draw a block; it depends on the world and the block's number alone.

    Args:
        world: the world.
        block: the block's number, from 0.
        n_users: users of the data set; those beyond are drawn and left out.

    Returns:
        The block.
    """
    constants, policy = world.constants, world.policy
    users = world.users(block)
    start = block * constants.block_users
    kept = min(len(users), n_users - start)
    panel = draw_panel(world.seed, constants, policy, users, world.base)
    return Block(
        start=start,
        users=_first_users(users, kept),
        past_clicks=_of_first(draw_past_clicks(world.seed, constants, policy, users), kept),
        clicks=_of_first(world.clicks(users), kept),
        purchases=_of_first(draw_purchases(world.seed, constants, policy, users), kept),
        queries=_of_first(draw_queries(world.seed, constants, policy, users), kept),
        panel=_of_first(panel, min(kept, constants.panel_users - start)),
    )


def _first_users(users: Users, kept: int) -> Users:
    return replace(users, **{name: values[:kept] for name, values in _arrays(users).items()})


def _of_first(rows: Rows, kept: int) -> Rows:
    """The rows, which are sorted by user, of the first users."""
    end = int(np.searchsorted(rows.user, kept))
    return replace(rows, **{name: values[:end] for name, values in _arrays(rows).items()})


def _arrays(rows: Any) -> dict[str, Any]:
    values = {field.name: getattr(rows, field.name) for field in fields(rows)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
