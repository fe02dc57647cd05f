"""Rows: what every method reads of a period, each row as the service would have seen it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.assembly import Catalogue, UserArrays, user_arrays
from model.network.batch import SplitRows
from model.records import UserRecord
from model.spec import FeatureSpec, hour_and_weekday
from offline.histories import Column, Histories, Ints, item_keys, positions, seconds
from offline.progress import track
from offline.segments import segments

BLOCK = 4096
PROBABILITY = "probability"


class LeakingSample(ValueError):
    """A sample would have seen its own future."""


@dataclass(frozen=True)
class Period:
    """The rows of one split: those whose time lies in ``[start_s, end_s)``."""

    name: str
    start_s: int
    end_s: int


@dataclass(frozen=True, eq=False)
class Clicks:
    """Clicks (or exposures) with outcome, one context per request."""

    context_user: Ints
    """int64 ``[contexts]``: position in the users table."""
    context_time: Ints
    """int64 ``[contexts]``, seconds."""
    row_context: Ints
    """int64 ``[rows]``."""
    row_item: Ints
    """int64 ``[rows]`` catalogue rows."""
    label: NDArray[np.float32]
    """float32 ``[rows]``."""
    probability: NDArray[np.float32] | None = None
    """float32 ``[rows]``: of a purchase, where the truth is known."""

    @classmethod
    def of(cls, clicks: pa.Table, user_ids: Column, catalogue: Catalogue) -> "Clicks":
        """From canonical clicks of one period.

        Args:
            clicks: the rows; a further column ``probability`` where the truth is known.
            user_ids: the users table's ids.
            catalogue: the catalogue.
        """
        known = PROBABILITY in clicks.column_names
        requests: Any = clicks["request_id"].combine_chunks().dictionary_encode()
        row_context = np.asarray(requests.indices, np.int64)
        first = np.full(len(requests.dictionary), len(clicks), np.int64)
        np.minimum.at(first, row_context, np.arange(len(clicks)))
        return cls(
            context_user=positions(clicks["user_id"], user_ids)[first],
            context_time=seconds(clicks["time"])[first],
            row_context=row_context,
            row_item=catalogue.rows(item_keys(clicks["item_id"])),
            label=np.asarray(clicks["label"], np.float32),
            probability=np.asarray(clicks[PROBABILITY], np.float32) if known else None,
        )


def build_rows(
    spec: FeatureSpec,
    catalogue: Catalogue,
    histories: Histories,
    clicks: Clicks,
    period: Period,
    low: NDArray[np.bool_] | None = None,
) -> SplitRows:
    """Assemble the rows of one period, each as of its own moment.

    Args:
        spec: the feature spec; what it says of groups is not used.
        catalogue: the catalogue.
        histories: what was known of every user when.
        clicks: the rows.
        period: whose start decides the evaluation segments.
        low: bool ``[N]``: the low-activity users where the data set itself says who they are.

    Returns:
        The rows, assembled by the code that serves.

    Raises:
        LeakingSample: when a record holds an event as late as its row.
    """
    found = segments(histories, period.start_s, clicks.context_user)
    row_user = clicks.context_user[clicks.row_context]
    return SplitRows(
        users=_users(spec, catalogue, histories, clicks, period.name),
        row_context=clicks.row_context,
        row_item=clicks.row_item,
        label=clicks.label,
        row_user=row_user,
        row_level=found.level[row_user],
        row_low=(found.low if low is None else low)[row_user],
        context_user=clicks.context_user,
        context_time=clicks.context_time,
        probability=clicks.probability,
    )


def check_point_in_time(record: UserRecord, moment_s: int) -> None:
    """Refuse a record that knows its row's own future.

    Args:
        record: the user's record for a row.
        moment_s: the row's time.

    Raises:
        LeakingSample: when the record is of a later moment than the row, or a purchase is as
            late as the row or counted in the window alone.
    """
    if record.written_at_s > moment_s or record.window_purchases > record.purchases:
        raise LeakingSample(
            f"user {record.user_id!r}: a record of {record.written_at_s} s with "
            f"{record.window_purchases} of {record.purchases} purchases in its window, for a row "
            f"at {moment_s} s"
        )
    if len(record.purchase_times) and int(record.purchase_times.max()) >= moment_s:
        raise LeakingSample(
            f"user {record.user_id!r}: a purchase at {int(record.purchase_times.max())} s in the "
            f"history of a row at {moment_s} s"
        )


def _users(
    spec: FeatureSpec, catalogue: Catalogue, histories: Histories, clicks: Clicks, label: str
) -> UserArrays:
    context = hour_and_weekday(clicks.context_time)
    no_group = np.full(spec.levels, spec.codes_per_level, np.int32)
    blocks = []
    for begin in track(range(0, len(context), BLOCK), f"assembling {label}"):
        part = slice(begin, begin + BLOCK)
        users, times = clicks.context_user[part].tolist(), clicks.context_time[part].tolist()
        records = [
            _record(spec, histories, no_group, user, moment)
            for user, moment in zip(users, times, strict=True)
        ]
        blocks.append(_compact(user_arrays(spec, catalogue, records, times, context[part])))
    assembled: UserArrays = concatenated(blocks, UserArrays)
    return assembled


def _compact(users: UserArrays) -> UserArrays:
    """The sequences in as few bytes as hold them: they are nearly all of a large data set."""
    return replace(
        users,
        history_items=users.history_items.astype(np.int32),
        history_ages=users.history_ages.astype(np.int8),
    )


def _record(
    spec: FeatureSpec, histories: Histories, no_group: NDArray[np.int32], user: int, moment_s: int
) -> UserRecord:
    record = histories.record(spec, user, moment_s, no_group, 0)
    check_point_in_time(record, moment_s)
    return record


def concatenated(blocks: Sequence[Any], kind: type[Any]) -> Any:
    """Blocks of arrays of one kind as one."""
    return kind(
        **{
            f.name: np.concatenate([getattr(block, f.name) for block in blocks])
            for f in fields(kind)
        }
    )
