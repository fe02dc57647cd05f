"""Profiles: every user at a cut, from what was known before it and nothing else."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline.engine import Engine, connect
from offline.profiles import ProfileSources, build_profiles, write_profiles

CUT = datetime.fromisoformat("2017-04-01T00:00:00")
START = CUT - timedelta(days=20)
MS = timedelta(milliseconds=1)
Event = tuple[str, str, datetime]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine for the tests of this file."""
    with connect(threads=1) as made:
        yield made


def events(name: str, rows: list[Event]) -> ibis.Table:
    """A table of user_id, a named column and time."""
    users, values, times = zip(*rows, strict=True) if rows else ((), (), ())
    return ibis.memtable(
        pa.table(
            {
                "user_id": pa.array(users, pa.string()),
                name: pa.array(values, pa.string()),
                "time": pa.array(times, pa.timestamp("ms")),
            }
        )
    )


def sources(
    purchases: list[Event] | None = None, searches: list[Event] | None = None
) -> ProfileSources:
    """Two users with attributes, one without; three items; windows end after 2, 5 and 10 days."""
    users = {
        "user_id": ["u3", "u1", "u2"],
        "age": [None, "30-39", "40-49"],
        "spend": pa.array([None, 1.23456, None], pa.float64()),
    }
    items = {
        "item_id": ["milk", "bread", "thing"],
        "department": ["FOOD", "FOOD", None],
        "category": ["DAIRY", "BAKERY", None],
        "type": ["FLUID MILK", "BREAD", None],
    }
    return ProfileSources(
        users=ibis.memtable(pa.table(users)),
        items=ibis.memtable(pa.table(items)),
        purchases=events("item_id", purchases or []),
        searches=events("query", searches or []),
        discrete=("age",),
        continuous=("spend",),
        categories=("department", "category", "type"),
        windows_days=(2, 5, 10),
        history_start=START,
    )


def texts(table: pa.Table) -> dict[str, dict[str, str]]:
    """Sections with text, by user."""
    return {
        row.pop("user_id"): {
            name.removeprefix("section_"): text
            for name, text in row.items()
            if text and name != "writer"
        }
        for row in table.to_pylist()
    }


def test_every_user_has_a_row_in_order(engine: Engine) -> None:
    """Rows follow the users table, also for users without purchases or attributes."""
    table = build_profiles(engine, sources([("u1", "milk", CUT - MS)]), CUT)
    assert table["user_id"].to_pylist() == ["u1", "u2", "u3"]
    assert texts(table) == {
        "u1": {
            "attributes": "age 30-39, spend 1.23",
            "recent": "mainly dairy (fluid milk)",
        },
        "u2": {"attributes": "age 40-49"},
        "u3": {},
    }


@pytest.mark.parametrize(
    ("age", "window"),
    [
        (timedelta(0), None),
        (MS, "recent"),
        (timedelta(days=2), "recent"),
        (timedelta(days=2) + MS, "medium"),
        (timedelta(days=5), "medium"),
        (timedelta(days=5) + MS, "long"),
        (timedelta(days=10), "long"),
        (timedelta(days=10) + MS, None),
        (-MS, None),
    ],
)
def test_windows_are_disjoint(engine: Engine, age: timedelta, window: str | None) -> None:
    """A purchase is told in one window, by its age, and not at all at or after the cut."""
    found = texts(build_profiles(engine, sources([("u3", "milk", CUT - age)]), CUT))
    assert list(found["u3"]) == ([window] if window else [])


def test_history_start_holds(engine: Engine) -> None:
    """Purchases before the history are not used, even inside a window."""
    made = replace(sources([("u3", "milk", CUT - timedelta(days=3))]), history_start=CUT - 2 * MS)
    assert texts(build_profiles(engine, made, CUT))["u3"] == {}


def test_item_without_category_is_not_told(engine: Engine) -> None:
    """What no category names says nothing about its buyer."""
    found = texts(build_profiles(engine, sources([("u3", "thing", CUT - MS)]), CUT))
    assert found["u3"] == {}


@pytest.mark.parametrize(
    ("categories", "told"),
    [
        ((), {}),
        (("type",), {"recent": "mainly fluid milk; mainly bread"}),
        (("department", "category"), {"recent": "mainly food (dairy, bakery)"}),
    ],
)
def test_shallow_catalogues_serve(
    engine: Engine, categories: tuple[str, ...], told: dict[str, str]
) -> None:
    """One category level, or none, is enough for a profile."""
    bought = [("u3", "bread", CUT - MS), *[("u3", "milk", CUT - MS)] * 2]
    made = replace(sources(bought), categories=categories)
    assert texts(build_profiles(engine, made, CUT))["u3"] == told


def test_queries_are_the_latest_before_the_cut(engine: Engine) -> None:
    """Searches are told latest first, once each, and none from after the cut."""
    asked = [
        ("u2", "shoes", CUT - timedelta(days=3)),
        ("u2", "hat", CUT - timedelta(days=2)),
        ("u2", "bag", CUT - timedelta(days=2)),
        ("u2", "shoes", CUT - MS),
        ("u2", "secret", CUT),
        ("u2", "old", CUT - timedelta(days=11)),
        *(("u3", f"query {n:02}", CUT - n * MS) for n in range(1, 40)),
    ]
    found = texts(build_profiles(engine, sources(searches=asked), CUT))
    assert found["u2"]["queries"] == "shoes, bag, hat"
    assert found["u3"]["queries"].split(", ") == [f"query {n:02}" for n in range(1, 21)]


def assert_sees_no_later(
    build: Callable[[ProfileSources], pa.Table], before: list[Event], later: list[Event]
) -> None:
    """Profiles are the same with and without what happened at or after the cut."""
    known = sources(before, before)
    leaking = sources(before + later, before + later)
    assert build(leaking).equals(build(known))


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["u1", "u2", "u3"]),
        st.sampled_from(["milk", "bread", "thing"]),
        st.integers(0, 9 * 86_400_000).map(lambda ms: ms * MS),
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=EVENTS, later=EVENTS)
def test_nothing_at_or_after_the_cut_is_seen(
    engine: Engine,
    before: list[tuple[str, str, timedelta]],
    later: list[tuple[str, str, timedelta]],
) -> None:
    """No event of the cut's moment or later changes a profile."""
    assert_sees_no_later(
        lambda made: build_profiles(engine, made, CUT),
        [(user, item, CUT - age - MS) for user, item, age in before],
        [(user, item, CUT + age) for user, item, age in later],
    )


def test_a_planted_leak_is_caught(engine: Engine) -> None:
    """The check above fails for a builder that looks one millisecond too far."""
    with pytest.raises(AssertionError):
        assert_sees_no_later(
            lambda made: build_profiles(engine, made, CUT + MS), [], [("u3", "milk", CUT)]
        )


def test_written_file_names_its_making(engine: Engine, tmp_path: Path) -> None:
    """The file says who wrote the texts, by which template, as of when; two runs, equal bytes."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_profiles(engine, sources([("u1", "milk", CUT - MS)]), CUT, tmp_path / name)
    file = tmp_path / "a" / "profiles.parquet"
    assert file.read_bytes() == (tmp_path / "b" / "profiles.parquet").read_bytes()
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, "writing.json"]
    metadata = pq.read_schema(file).metadata
    assert metadata[b"writer"] == b"template"
    assert metadata[b"template_version"] == b"template-1"
    assert metadata[b"cut"] == b"2017-04-01T00:00:00"


def test_every_row_says_who_wrote_it(engine: Engine, tmp_path: Path) -> None:
    """The writer stands in each row, null where nothing is known, and the counts beside it."""
    write_profiles(engine, sources([("u1", "milk", CUT - MS)]), CUT, tmp_path)
    table = pq.read_table(tmp_path / "profiles.parquet")
    assert table["writer"].to_pylist() == ["template", "template", None]
    writing = json.loads((tmp_path / "writing.json").read_text())
    assert writing["writer"] == "template"
    assert writing["profiles"] == {"nobody": 1, "template": 2}
