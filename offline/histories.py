"""Histories: what was known of any user just before any moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from model.records import UserRecord
from model.spec import SECONDS_PER_DAY, FeatureSpec, item_key

Ints = NDArray[np.int64]
Column: TypeAlias = "pa.ChunkedArray[Any]"


def seconds(times: Column) -> Ints:
    """int64 seconds since the epoch, rounded down, of a ``timestamp('ms')`` column."""
    return np.asarray(times.cast(pa.int64()), np.int64) // 1000


def epoch_s(moment: datetime) -> int:
    """Seconds since the epoch of a moment in UTC without a zone."""
    return int(moment.replace(tzinfo=UTC).timestamp())


def positions(values: Column, sorted_ids: Column) -> Ints:
    """int64 position of every value in a column of unique ids; -1 where it is not there."""
    found: Any = pc.index_in(values, value_set=sorted_ids.combine_chunks())
    return np.asarray(found.fill_null(-1), np.int64)


@dataclass(frozen=True, eq=False)
class EventLog:
    """Time-stamped events of all users, sorted by user, then time."""

    offsets: Ints
    """int64 ``[N + 1]``: user n's events are ``offsets[n]:offsets[n + 1]``."""
    times: Ints
    """int64, seconds since the epoch."""
    keys: NDArray[np.uint64]
    """uint64 item keys; zeros where events have no item."""

    @classmethod
    def build(cls, users: Ints, times: Ints, keys: NDArray[np.uint64], n_users: int) -> "EventLog":
        """Sort events given in any order; equal times keep the order given."""
        order = np.lexsort((times, users))
        offsets = np.searchsorted(users[order], np.arange(n_users + 1))
        return cls(offsets=offsets, times=times[order], keys=keys[order])

    def before(self, user: int, moment_s: int, since_s: int | None = None) -> slice:
        """The events of a user strictly before a moment (and at or after ``since_s``)."""
        low, high = self.offsets[user], self.offsets[user + 1]
        own = self.times[low:high]
        begin = 0 if since_s is None else int(np.searchsorted(own, since_s, side="left"))
        end = int(np.searchsorted(own, moment_s, side="left"))
        return slice(int(low) + begin, int(low) + max(begin, end))

    def counts(self, since_s: int, until_s: int) -> Ints:
        """int64 ``[N]``: events of each user in ``[since_s, until_s)``."""
        inside = (self.times >= since_s) & (self.times < until_s)
        total = np.concatenate([[0], np.cumsum(inside)])
        counts: Ints = total[self.offsets[1:]] - total[self.offsets[:-1]]
        return counts


@dataclass(frozen=True, eq=False)
class Histories:
    """Attributes and event logs of all users, users in the order of the users table."""

    user_ids: Sequence[str]
    attributes: NDArray[np.int32]
    """int32 ``[N, F_u]`` codes."""
    continuous: NDArray[np.float32]
    """float32 ``[N, F_n]``; NaN = missing."""
    purchases: EventLog
    clicks: EventLog
    """No events where the dataset's clicks are sampled: they say nothing of activity."""
    searches: EventLog

    @classmethod
    def build(
        cls,
        spec: FeatureSpec,
        users: pa.Table,
        purchases: pa.Table,
        clicks: pa.Table | None,
        searches: pa.Table,
    ) -> "Histories":
        """From canonical tables; ``clicks`` is None where they never count as activity."""
        ids = users["user_id"]
        columns = [
            [field.code(value) for value in users[field.name].to_pylist()]
            for field in spec.attributes
        ]
        values = [users[field.name].to_numpy() for field in spec.continuous]
        return cls(
            user_ids=[str(user_id) for user_id in ids.to_pylist()],
            attributes=np.array(columns, np.int32).reshape(len(columns), len(ids)).T,
            continuous=np.array(values, np.float32).reshape(len(values), len(ids)).T,
            purchases=_log(purchases, ids),
            clicks=_log(clicks if clicks is not None else purchases.slice(0, 0), ids),
            searches=_log(searches, ids),
        )

    def record(
        self,
        spec: FeatureSpec,
        user: int,
        as_of_s: int,
        group_id: NDArray[np.int32],
        prefix_depth: int,
    ) -> UserRecord:
        """The user's record as of a moment: nothing in it is as late as the moment.

        Args:
            spec: the feature spec.
            user: position in the users table.
            as_of_s: seconds since the epoch.
            group_id: int32 ``[M]``.
            prefix_depth: levels of the prior's prefix.

        Returns:
            The record, with at most ``spec.history_len`` purchases, the latest ones.
        """
        since_s = as_of_s - spec.activity_window_days * SECONDS_PER_DAY
        past = self.purchases.before(user, as_of_s)
        kept = slice(max(past.start, past.stop - spec.history_len), past.stop)
        window = [log.before(user, as_of_s, since_s) for log in self._logs()]
        return UserRecord(
            user_id=self.user_ids[user],
            written_at_s=as_of_s,
            attributes=self.attributes[user],
            continuous=self.continuous[user],
            purchase_items=self.purchases.keys[kept],
            purchase_times=self.purchases.times[kept],
            purchases=past.stop - past.start,
            window_purchases=window[0].stop - window[0].start,
            window_clicks=window[1].stop - window[1].start,
            window_active_days=self._active_days(window),
            group_id=group_id,
            prefix_depth=prefix_depth,
        )

    def _logs(self) -> tuple[EventLog, EventLog, EventLog]:
        return self.purchases, self.clicks, self.searches

    def _active_days(self, windows: Sequence[slice]) -> int:
        days = [
            log.times[window] // SECONDS_PER_DAY
            for log, window in zip(self._logs(), windows, strict=True)
        ]
        return len(np.unique(np.concatenate(days)))


def item_keys(item_ids: Column) -> NDArray[np.uint64]:
    """uint64 keys of a column of item ids; each distinct id is hashed once."""
    encoded: Any = item_ids.combine_chunks().dictionary_encode()
    distinct = [item_key(item_id) for item_id in encoded.dictionary.to_pylist()]
    return np.array(distinct, np.uint64)[np.asarray(encoded.indices, np.int64)]


def _log(events: pa.Table, user_ids: Column) -> EventLog:
    keys = (
        item_keys(events["item_id"])
        if "item_id" in events.column_names
        else np.zeros(len(events), np.uint64)
    )
    users = positions(events["user_id"], user_ids)
    return EventLog.build(users, seconds(events["time"]), keys, len(user_ids))
