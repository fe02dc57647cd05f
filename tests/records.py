"""Records for tests: small ones by number, and random ones by hypothesis."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.records import GroupRecord, ItemRecord, Keys, Times, UserRecord
from model.spec import item_key

WRITTEN_AT_S = 1_700_000_000

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
codes = hnp.arrays(np.int32, st.integers(0, 5), elements=st.integers(-(2**31), 2**31 - 1))
floats = hnp.arrays(np.float32, st.integers(0, 3), elements=st.floats(width=32))
times = st.integers(-(2**40), 2**40)
counts = st.integers(0, 2**40)
prefixes = st.lists(st.integers(0, 256), max_size=3).map(tuple)


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Keys, Times]:
    """Keys and times of equal length."""
    length = draw(st.integers(0, 6))
    keys = draw(hnp.arrays(np.uint64, length))
    return keys, draw(hnp.arrays(np.int64, length, elements=times))


@st.composite
def user_records(draw: st.DrawFn) -> UserRecord:
    """Any user record."""
    items, moments = draw(sequences())
    group_id = draw(codes)
    return UserRecord(
        user_id=draw(ids),
        written_at_s=draw(times),
        attributes=draw(codes),
        continuous=draw(floats),
        purchase_items=items,
        purchase_times=moments,
        purchases=draw(counts),
        window_purchases=draw(counts),
        window_clicks=draw(counts),
        window_active_days=draw(counts),
        group_id=group_id,
        prefix_depth=draw(st.integers(0, len(group_id))),
    )


@st.composite
def group_records(draw: st.DrawFn) -> GroupRecord:
    """Any group record."""
    items, moments = draw(sequences())
    return GroupRecord(
        prefix=draw(prefixes),
        written_at_s=draw(times),
        attributes=draw(codes),
        continuous=draw(floats),
        items=items,
        times=moments,
        size=draw(counts),
    )


@st.composite
def item_records(draw: st.DrawFn) -> ItemRecord:
    """Any item record."""
    return ItemRecord(item_id=draw(ids), written_at_s=draw(times), codes=draw(codes))


def user_record(number: int, purchases: int = 3) -> UserRecord:
    """User ``u<number>`` with that many purchases, one a day, the last a day before writing."""
    days = np.arange(purchases, 0, -1, dtype=np.int64)
    return UserRecord(
        user_id=f"u{number}",
        written_at_s=WRITTEN_AT_S,
        attributes=np.array([2 + number % 3, 0], np.int32),
        continuous=np.array([number], np.float32),
        purchase_items=np.array([item_key(f"i{(number + n) % 9}") for n in days], np.uint64),
        purchase_times=WRITTEN_AT_S - days * 86_400,
        purchases=purchases,
        window_purchases=purchases,
        window_clicks=2 * purchases,
        window_active_days=purchases,
        group_id=np.array([number % 4, number % 3, number % 2], np.int32),
        prefix_depth=min(number % 4, 2),
    )


def group_record(prefix: tuple[int, ...] = ()) -> GroupRecord:
    """The prior of a prefix."""
    return GroupRecord(
        prefix=prefix,
        written_at_s=WRITTEN_AT_S,
        attributes=np.array([2 + sum(prefix) % 3, 2], np.int32),
        continuous=np.array([sum(prefix)], np.float32),
        items=np.array([item_key(f"i{n + sum(prefix) % 5}") for n in range(4)], np.uint64),
        times=WRITTEN_AT_S - np.arange(40, 0, -10, dtype=np.int64) * 86_400,
        size=100 + len(prefix),
    )


def item_record(item_id: str) -> ItemRecord:
    """A new item."""
    return ItemRecord(item_id, WRITTEN_AT_S, np.array([2, 3, 2], np.int32))
