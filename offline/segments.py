"""Segments: which users evaluation tells apart by their activity, and controls keep apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.spec import SECONDS_PER_DAY
from offline.events import CanonicalTables
from offline.histories import Histories, Ints, positions, seconds
from offline.vocabulary import LOW_ACTIVITY_SHARE

LEVELS = 5
SEGMENT_DAYS = 28


@dataclass(frozen=True, eq=False)
class Segments:
    """Which users evaluation tells apart (docs/evaluation.md)."""

    low: NDArray[np.bool_]
    """bool ``[N]``: low-activity users."""
    level: NDArray[np.int8]
    """int8 ``[N]``: activity level 1 (lowest) to 5; 0 for users without rows."""


def segments(histories: Histories, start_s: int, users_with_rows: Ints) -> Segments:
    """Evaluation segments as of a period's start (docs/evaluation.md).

    Args:
        histories: the event logs.
        start_s: the period's start.
        users_with_rows: positions of the users that have rows, repeats allowed.

    Returns:
        Low-activity: the bottom 55 % of all users by purchases in the 28 days before, ties by
        sha256 of the id. Levels: quintiles of the users with rows, by purchases, then clicks,
        then that hash.
    """
    since_s = start_s - SEGMENT_DAYS * SECONDS_PER_DAY
    purchases = histories.purchases.counts(since_s, start_s)
    clicks = histories.clicks.counts(since_s, start_s)
    hashes = _hashes(histories.user_ids)
    low = np.zeros(len(purchases), bool)
    low[np.lexsort((hashes, purchases))[: round(LOW_ACTIVITY_SHARE * len(purchases))]] = True
    present = np.zeros(len(purchases), bool)
    present[users_with_rows] = True
    return Segments(low, _levels(purchases, clicks, hashes, present))


def activity_levels(tables: CanonicalTables, cut_s: int) -> NDArray[np.int8]:
    """int8 ``[N]``: the level of every user as of a cut, by the order of ``segments``."""
    users = tables.users()["user_id"]
    purchases = _counted(tables.purchases(), users, cut_s)
    sampled = tables.schema.clicks_are_sampled
    clicks = np.zeros_like(purchases) if sampled else _counted(tables.clicks(), users, cut_s)
    everyone = np.ones(len(users), bool)
    return _levels(purchases, clicks, _hashes([str(one) for one in users.to_pylist()]), everyone)


def _levels(
    purchases: Ints, clicks: Ints, hashes: NDArray[np.str_], present: NDArray[np.bool_]
) -> NDArray[np.int8]:
    order = np.lexsort((hashes, clicks, purchases))
    ranked = order[present[order]]
    level = np.zeros(len(purchases), np.int8)
    level[ranked] = 1 + np.arange(len(ranked)) * LEVELS // max(len(ranked), 1)
    return level


def _counted(events: pa.Table, users: Any, cut_s: int) -> Ints:
    """Events of each user in the days before a cut."""
    times = seconds(events["time"])
    inside = (times >= cut_s - SEGMENT_DAYS * SECONDS_PER_DAY) & (times < cut_s)
    found = positions(events["user_id"], users)[inside]
    return np.bincount(found, minlength=len(users)).astype(np.int64)


def _hashes(user_ids: Sequence[str]) -> NDArray[np.str_]:
    return np.array([sha256(user.encode()).hexdigest() for user in user_ids])
