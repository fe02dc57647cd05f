"""Histories: what was known of a user just before a moment, counted by hand."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.records import UserRecord
from model.spec import item_key
from offline.histories import EventLog, Histories, item_keys, positions, seconds
from tests.unit.offline.event_tables import (
    BASE_S,
    DAY_S,
    SPEC,
    USERS,
    Event,
    Events,
    any_events,
    events_table,
    search,
    users_table,
)

GROUP = np.array([1, 2, 0], np.int32)
NOTHING = Events([], [], [])
users = st.integers(0, len(USERS) - 1)
as_of = st.integers(-3, 3).map(lambda second: BASE_S + second)


def record(histories: Histories, user: int, as_of_s: int) -> UserRecord:
    """A user's record as of a moment."""
    return histories.record(SPEC, user, as_of_s, GROUP, prefix_depth=2)


def times_before(rows: list[Event], user: str, as_of_s: int) -> list[int]:
    """Times in whole seconds of a user's events before a moment, by a plain loop."""
    return sorted(ms // 1000 for who, _, ms in rows if who == user and ms // 1000 < as_of_s)


def assert_counted(log: Events, user: int, as_of_s: int) -> None:
    """A record holds what a plain count of earlier events gives."""
    found = record(log.histories(), user, as_of_s)
    since_s = as_of_s - SPEC.activity_window_days * DAY_S
    tables = (log.purchases, log.clicks, log.searches)
    bought, clicked, searched = (times_before(rows, USERS[user], as_of_s) for rows in tables)
    windows = [[at for at in times if at >= since_s] for times in (bought, clicked, searched)]
    assert found.purchases == len(bought)
    assert found.purchase_times.tolist() == bought[-SPEC.history_len :]
    assert (found.window_purchases, found.window_clicks) == (len(windows[0]), len(windows[1]))
    assert found.window_active_days == len({at // DAY_S for times in windows for at in times})
    assert (found.user_id, found.written_at_s) == (USERS[user], as_of_s)
    assert (found.prefix, found.group_id.tolist()) == ((1, 2), [1, 2, 0])


@given(any_events, users, as_of)
def test_a_record_is_what_a_plain_count_gives(log: Events, user: int, as_of_s: int) -> None:
    """Purchases, window counts and active days equal those counted by hand, latest ones kept."""
    assert_counted(log, user, as_of_s)


@given(any_events, users, as_of)
def test_each_kept_purchase_has_its_own_item(log: Events, user: int, as_of_s: int) -> None:
    """Items stay with their times, also where several purchases share a second."""
    found = record(log.histories(), user, as_of_s)
    bought = {(item_key(item), ms // 1000) for who, item, ms in log.purchases if who == USERS[user]}
    pairs = zip(found.purchase_items.tolist(), found.purchase_times.tolist(), strict=True)
    assert set(pairs) <= bought


def test_an_event_of_the_very_moment_is_not_known() -> None:
    """A purchase a second before counts; one of the same second, or later, does not."""
    times = [BASE_S - 1, BASE_S, BASE_S + 1]
    log = Events([("u0", "i0", second * 1000 + 400) for second in times], [], [])
    found = record(log.histories(), 0, BASE_S)
    assert found.purchase_times.tolist() == [BASE_S - 1]
    assert (found.purchases, found.window_purchases, found.window_active_days) == (1, 1, 1)


def test_the_activity_window_begins_with_its_first_second() -> None:
    """An event exactly a window ago counts; one a second older is history without activity."""
    since_s = BASE_S - SPEC.activity_window_days * DAY_S
    log = Events([("u0", "i0", since_s * 1000), ("u0", "i1", since_s * 1000 - 1)], [], [])
    found = record(log.histories(), 0, BASE_S)
    assert (found.purchases, found.window_purchases) == (2, 1)


def test_sampled_clicks_say_nothing_of_activity() -> None:
    """Where clicks are a sample, no click counts and no click makes a day active."""
    log = Events([("u0", "i0", BASE_S * 1000 - 1)], [("u0", "i1", (BASE_S - 2 * DAY_S) * 1000)], [])
    purchases, searches = events_table(log.purchases, "item_id"), events_table([], "query")
    sampled = Histories.build(SPEC, users_table(), purchases, None, searches)
    assert record(log.histories(), 0, BASE_S).window_active_days == 2
    found = record(sampled, 0, BASE_S)
    assert (found.window_clicks, found.window_active_days) == (0, 1)


def test_attributes_are_codes_and_missing_stays_missing() -> None:
    """A known value has its code, null is 0, an unseen value 1; a missing number is NaN."""
    histories = NOTHING.histories()
    assert [record(histories, user, BASE_S).attributes.tolist() for user in range(3)] == [
        [3, 2],
        [0, 0],
        [1, 4],
    ]
    income = [float(record(histories, user, BASE_S).continuous[0]) for user in range(3)]
    assert income[0] == 1.5
    assert np.isnan(income[1])


def test_a_user_without_events_has_an_empty_history() -> None:
    """Nothing known is a record of zeros, not an error."""
    found = record(NOTHING.histories(), 1, BASE_S)
    assert len(found.purchase_items) == len(found.purchase_times) == 0
    counts = (found.purchases, found.window_purchases, found.window_clicks)
    assert (*counts, found.window_active_days) == (0, 0, 0, 0)


@given(any_events, as_of, st.integers(0, 40))
def test_counts_of_all_users_are_those_of_each(log: Events, until_s: int, days: int) -> None:
    """Counting everybody at once equals counting one by one."""
    since_s = until_s - days * DAY_S
    found = log.histories().purchases.counts(since_s, until_s)
    assert found.tolist() == [
        sum(at >= since_s for at in times_before(log.purchases, user, until_s)) for user in USERS
    ]


def test_events_of_one_time_keep_their_order() -> None:
    """Equal times do not shuffle a history, so that equal tables give equal samples."""
    keys = np.array([7, 5, 9], np.uint64)
    log = EventLog.build(np.zeros(3, np.int64), np.full(3, BASE_S), keys, 1)
    assert log.keys.tolist() == [7, 5, 9]


def test_seconds_are_rounded_down_before_the_epoch_too() -> None:
    """Half a second before 1970 belongs to the second before, as everywhere else."""
    times = pa.chunked_array([pa.array([-500, 0, 1999], pa.timestamp("ms"))])
    assert seconds(times).tolist() == [-1, 0, 1]


def test_ids_are_found_across_chunks_and_strangers_are_not() -> None:
    """Tables read from several files behave like one."""
    ids = pa.chunked_array([["a", "b"], ["c"]])
    assert positions(pa.chunked_array([["c"], ["x", "a"]]), ids).tolist() == [2, -1, 0]
    assert item_keys(ids).tolist() == [item_key(name) for name in "abc"]


def test_times_are_read_as_utc() -> None:
    """The canonical time 2026-01-01 00:00 is that moment in UTC, whatever the machine's zone."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    times = pa.chunked_array([pa.array([moment.replace(tzinfo=None)], pa.timestamp("ms"))])
    assert seconds(times).tolist() == [int(moment.timestamp())]


def test_a_planted_leak_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain count above notices a log that also tells of the moment itself."""
    before = EventLog.before

    def leaking(log: EventLog, user: int, moment_s: int, since_s: int | None = None) -> slice:
        return before(log, user, moment_s + 1, since_s)

    monkeypatch.setattr(EventLog, "before", leaking)
    with pytest.raises(AssertionError):
        search(given(any_events, users, as_of)(assert_counted))()
