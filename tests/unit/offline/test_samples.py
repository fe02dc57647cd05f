"""Samples: rows that know nothing of their own future, in the segments that evaluation names."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import offline.rows
import offline.samples
from model.assembly import Catalogue, GroupArrays, UserArrays, group_arrays
from model.network.batch import Split, SplitRows
from model.records import GroupRecord, UserRecord
from model.spec import FIRST_CODE, item_key
from offline.generations import GroupSide
from offline.histories import EventLog, Histories, Ints, item_keys
from offline.rows import Clicks, LeakingSample, Period, build_rows, check_point_in_time
from offline.samples import (
    BaseSamples,
    Samples,
    choose_generations,
    group_side,
    item_vectors,
    save_grouped,
)
from offline.segments import segments
from tests.records import group_record, user_record
from tests.unit.offline.event_tables import (
    BASE_S,
    DAY_S,
    ITEMS,
    SPEC,
    USERS,
    Event,
    Events,
    any_events,
    search,
)

CATALOGUE = Catalogue(
    keys=np.sort(np.array([item_key(item) for item in ITEMS], np.uint64)),
    codes=np.full((len(ITEMS), len(SPEC.item_fields)), 2, np.int32),
)
CODES = np.array([[0, 1, 2], [3, 0, 0], [4, 4, 4]], np.int32)
DEPTHS = np.array([2, 1, 0])
PREFIXES: tuple[tuple[int, ...], ...] = ((), (0,), (3,), (0, 1))
OWN_PURCHASE = Events([("u0", "i0", (BASE_S + 1) * 1000)], [], [])
"""A purchase in the very second of the row that ``rows_at(BASE_S + 1)`` holds."""

moments = st.integers(-3, 3).map(lambda second: BASE_S + second)


def side(as_of_s: int) -> GroupSide:
    """A generation cut at a moment; its priors differ from those of every other cut."""
    groups = {prefix: _prior(prefix, as_of_s) for prefix in PREFIXES}
    return GroupSide(as_of_s=as_of_s, codes=CODES, depths=DEPTHS, groups=groups)


def rows_at(*times_s: int) -> Clicks:
    """A request of every user at every moment, one candidate each."""
    pairs = [(user, time_s) for time_s in times_s for user in range(len(USERS))]
    return Clicks(
        context_user=np.array([user for user, _ in pairs]),
        context_time=np.array([time_s for _, time_s in pairs]),
        row_context=np.arange(len(pairs)),
        row_item=np.arange(len(pairs)) % len(ITEMS) + FIRST_CODE,
        label=np.zeros(len(pairs), np.float32),
    )


def build(log: Events, clicks: Clicks, cuts_s: Sequence[int], start_s: int = BASE_S) -> Split:
    """The split of a log."""
    generations = [side(cut_s) for cut_s in cuts_s]
    rows = build_rows(
        SPEC, CATALOGUE, log.histories(), clicks, Period("test", start_s, start_s + 10)
    )
    groups, index = group_side(SPEC, CATALOGUE, generations, rows)
    own = {f.name: getattr(rows, f.name) for f in fields(rows)}
    return Split(**own, groups=groups, group_index=index)


def assert_knows_nothing_later(log: Events, moment_s: int) -> None:
    """Rows of a moment are the same with and without what happened from that moment on."""
    cuts_s = (BASE_S - 40 * DAY_S, moment_s)
    known = log.before(moment_s * 1000)
    whole, early = (build(rows, rows_at(moment_s), cuts_s, moment_s) for rows in (log, known))
    for (name, found), (_, expected) in zip(arrays(whole), arrays(early), strict=True):
        assert np.array_equal(found, expected), name


def arrays(split: Split) -> list[tuple[str, NDArray[Any]]]:
    """Every array of a split by name."""
    flat: list[tuple[str, NDArray[Any]]] = []
    for part in fields(split):
        value = getattr(split, part.name)
        if value is None:
            continue
        nested = isinstance(value, UserArrays | GroupArrays)
        names = [column.name for column in fields(value)] if nested else [""]
        flat += [(f"{part.name}.{n}", getattr(value, n) if n else value) for n in names]
    return flat


@given(any_events, moments)
def test_no_feature_is_as_late_as_its_row(log: Events, moment_s: int) -> None:
    """Nothing that happens from a row's second on changes the row, its user or its segments."""
    assert_knows_nothing_later(log, moment_s)


def leaking_window(record: Callable[..., UserRecord]) -> Callable[..., UserRecord]:
    """Records whose window counts include the row's own second."""

    def leak(histories: Histories, spec: Any, user: int, as_of_s: int, *args: Any) -> UserRecord:
        later = record(histories, spec, user, as_of_s + 1, *args)
        counts: dict[str, Any] = {"window_clicks": later.window_clicks, "window_active_days": 1}
        return replace(record(histories, spec, user, as_of_s, *args), **counts)

    return leak


def leaking_times(record: Callable[..., UserRecord]) -> Callable[..., UserRecord]:
    """Records that hold the row's own second, and say they do not."""

    def leak(histories: Histories, spec: Any, user: int, as_of_s: int, *args: Any) -> UserRecord:
        later = record(histories, spec, user, as_of_s + 1, *args)
        return replace(later, written_at_s=as_of_s)

    return leak


@pytest.mark.parametrize("leak", [leaking_window, leaking_times])
def test_a_planted_leak_is_caught(leak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property above fails for records that know their row's own second."""
    monkeypatch.setattr(Histories, "record", leak(Histories.record))
    # Without the builder's own refusal, so that the property stands on its own feet.
    monkeypatch.setattr(offline.rows, "check_point_in_time", lambda *_: None)
    with pytest.raises(AssertionError):
        search(given(any_events, moments)(assert_knows_nothing_later))()


def test_a_history_that_holds_the_rows_own_purchase_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The builder stops at a log that looks one second too far, and says whose row it was."""
    before = EventLog.before
    monkeypatch.setattr(
        EventLog, "before", lambda log, user, at_s, *since: before(log, user, at_s + 1, *since)
    )
    with pytest.raises(
        LeakingSample, match=r"'u0': a purchase at 1700000001 s .* row at 1700000001"
    ):
        build(OWN_PURCHASE, rows_at(BASE_S + 1), [BASE_S])


def test_a_record_of_a_later_moment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder stops at records made as of a moment after their row."""
    record = Histories.record
    monkeypatch.setattr(
        Histories,
        "record",
        lambda histories, spec, user, at_s, *rest: record(histories, spec, user, at_s + 9, *rest),
    )
    with pytest.raises(LeakingSample, match="a record of 1700000010 s"):
        build(Events([], [], []), rows_at(BASE_S + 1), [BASE_S])


def test_a_window_that_counts_more_than_there_was_is_refused() -> None:
    """A purchase that only the window's count knows is the row's own."""
    honest = user_record(1, purchases=3)
    check_point_in_time(honest, honest.written_at_s)
    with pytest.raises(LeakingSample, match="4 of 3 purchases"):
        check_point_in_time(replace(honest, window_purchases=4), honest.written_at_s)


def test_a_generation_cut_after_the_row_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder stops when a row would read a prior of its own future."""
    monkeypatch.setattr(
        offline.samples, "choose_generations", lambda times, cuts: np.full(len(times), 1)
    )
    with pytest.raises(LeakingSample, match="cut at 1700000005 s for a row at 1700000001 s"):
        build(Events([], [], []), rows_at(BASE_S + 1), [BASE_S, BASE_S + 5])


@given(st.lists(moments, min_size=1, max_size=5, unique=True), st.lists(moments, max_size=8))
def test_a_row_reads_the_latest_generation_before_it(cuts: list[int], times: list[int]) -> None:
    """Of all cuts at or before a row it reads the last one; a row before all cuts is refused."""
    if any(time < min(cuts) for time in times):
        with pytest.raises(LeakingSample, match="build a generation at or before"):
            choose_generations(np.array(times), cuts)
        return
    chosen = choose_generations(np.array(times, np.int64), cuts)
    found = [cuts[index] for index in chosen]
    assert found == [max(cut for cut in cuts if cut <= time) for time in times]


@given(st.lists(moments, min_size=1, max_size=3, unique=True), moments)
def test_priors_are_those_of_the_rows_generation(cuts: list[int], moment_s: int) -> None:
    """Every row has its user's prefix, from its own cut, with ages counted from that cut."""
    assume(min(cuts) <= moment_s)
    split = build(Events([], [], []), rows_at(moment_s), cuts)
    cut_s = max(cut for cut in cuts if cut <= moment_s)
    chosen = [_prior(prefix, cut_s) for prefix in ((0, 1), (3,), ())]
    expected = group_arrays(SPEC, CATALOGUE, chosen, cut_s)
    for column in fields(GroupArrays):
        found = getattr(split.groups, column.name)[split.group_index]
        assert np.array_equal(found, getattr(expected, column.name)), column.name


def test_a_prior_in_use_stands_once() -> None:
    """However many rows read a prior, the split holds it once."""
    split = build(Events([], [], []), rows_at(BASE_S, BASE_S + 1, BASE_S + 2), [BASE_S])
    assert len(split.groups.codes) == 3
    assert split.group_index.tolist() == [1, 2, 0] * 3


@given(any_events, st.sets(st.integers(0, 2)), moments)
def test_segments_are_those_of_a_plain_sort(log: Events, present: set[int], start_s: int) -> None:
    """The bottom 55 % by purchases of 28 days, quintiles of those with rows, ties by the hash."""
    histories = log.histories()
    found = segments(histories, start_s, np.array([*present, *present], np.int64))
    low, level = found.low, found.level
    names = sorted(USERS, key=lambda user: (_counted(log.purchases, user, start_s), _hash(user)))
    assert {USERS[n] for n in np.flatnonzero(low)} == set(names[: round(0.55 * len(USERS))])
    by_both = sorted(
        (USERS[n] for n in present),
        key=lambda user: (
            _counted(log.purchases, user, start_s),
            _counted(log.clicks, user, start_s),
            _hash(user),
        ),
    )
    expected = {user: 1 + rank * 5 // len(by_both) for rank, user in enumerate(by_both)}
    assert level.tolist() == [expected.get(user, 0) for user in USERS]


@pytest.mark.parametrize(("users", "low"), [(1, 1), (2, 1), (9, 5), (10, 6), (100, 55)])
def test_the_share_of_low_activity_users_is_rounded(users: int, low: int) -> None:
    """55 % of all users, rounded, whether or not they have rows or purchases."""
    histories = _idle(users)
    found = segments(histories, BASE_S, np.arange(users))
    assert found.low.sum() == low
    sizes = np.bincount(found.level, minlength=6)[1:]
    assert sizes.sum() == users
    assert users < 5 or sizes.max() - sizes.min() <= 1


def test_rows_keep_their_order_and_share_their_requests_context() -> None:
    """Rows stand as in the table; those of one request share user and time."""
    table = pa.table(
        {
            "user_id": ["u1", "u0", "u1"],
            "item_id": ["i0", "i1", "i2"],
            "time": pa.array([5000, 6000, 5000], pa.timestamp("ms")),
            "label": pa.array([1, 0, 1], pa.int8()),
            "request_id": ["a", "b", "a"],
        }
    )
    ids = pa.chunked_array([list(USERS)])
    clicks = Clicks.of(table, ids, CATALOGUE)
    assert clicks.row_context.tolist() == [0, 1, 0]
    assert clicks.context_user.tolist() == [1, 0]
    assert clicks.context_time.tolist() == [5, 6]
    assert clicks.row_item.tolist() == CATALOGUE.rows(item_keys(table["item_id"])).tolist()
    assert clicks.label.tolist() == [1, 0, 1]


@given(any_events, moments)
def test_item_vectors_know_only_purchases_before_training(log: Events, start_s: int) -> None:
    """What is bought from the start of training on does not show in the vectors."""
    found, expected = (
        item_vectors(CATALOGUE, rows.histories(), start_s, 2)
        for rows in (log, log.before(start_s * 1000))
    )
    assert np.array_equal(found, expected)


def test_samples_are_read_back_as_they_were(tmp_path: Path) -> None:
    """What is saved is loaded, array by array, for every split, rows and groups apart."""
    split = build(OWN_PURCHASE, rows_at(BASE_S, BASE_S + 3), [BASE_S])
    known = replace(split, probability=np.linspace(0, 1, len(split), dtype=np.float32))
    rows = {f.name: getattr(known, f.name) for f in fields(SplitRows)}
    vectors = np.ones((len(ITEMS) + FIRST_CODE, 2), np.float32)
    names = ("train", "validation", "test", "panel")
    bought = np.arange(len(vectors))
    splits = {name: SplitRows(**rows) for name in names}
    base = BaseSamples(SPEC, CATALOGUE, vectors, bought, splits)
    for folder in ("base", "grouped"):
        (tmp_path / folder).mkdir()
    base.save(tmp_path / "base")
    spec = replace(SPEC, n_min=SPEC.n_min + 1)
    save_grouped(tmp_path / "grouped", base, spec, [side(BASE_S)])
    loaded = Samples.load(tmp_path / "base", tmp_path / "grouped")
    assert loaded.spec == spec
    assert np.array_equal(loaded.catalogue.keys, CATALOGUE.keys)
    assert np.array_equal(loaded.item_vectors, vectors)
    assert np.array_equal(loaded.item_purchases, bought)
    for part in (getattr(loaded, name) for name in names):
        for (name, found), (_, expected) in zip(arrays(part), arrays(known), strict=True):
            assert np.array_equal(found, expected), name
            assert found.dtype == expected.dtype, name


def _prior(prefix: tuple[int, ...], as_of_s: int) -> GroupRecord:
    record = group_record(prefix)
    times = as_of_s - np.array([90, 40, 7, 1]) * DAY_S
    income = np.array([as_of_s - BASE_S], np.float32)
    return replace(record, written_at_s=as_of_s, times=times, continuous=income)


def _counted(rows: list[Event], user: str, start_s: int) -> int:
    times = [ms // 1000 for who, _, ms in rows if who == user]
    return sum(start_s - 28 * DAY_S <= at < start_s for at in times)


def _hash(user: str) -> str:
    return sha256(user.encode()).hexdigest()


def _idle(users: int) -> Histories:
    nothing: Ints = np.empty(0, np.int64)
    log = EventLog.build(nothing, nothing, np.empty(0, np.uint64), users)
    return Histories(
        user_ids=[f"user {n}" for n in range(users)],
        attributes=np.zeros((users, 2), np.int32),
        continuous=np.zeros((users, 1), np.float32),
        purchases=log,
        clicks=log,
        searches=log,
    )
