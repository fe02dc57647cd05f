"""Canonical tables keep their rules, or say which row of which file breaks which rule."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.events import (
    ORDER,
    TABLES,
    CanonicalTables,
    DatasetSchema,
    Split,
    validate,
)
from offline.rules import CONTINUOUS_RULE, SHOWN_PER_RULE, ConfigError, InvalidTables, Problem
from tests.unit.offline.small_tables import (
    SCHEMA,
    SPLIT,
    Rows,
    arrow_tables,
    at,
    small_rows,
    write,
)

Bend = Callable[[Rows], object]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Opening a written folder gives the same rows, types and schema."""
    write(tmp_path, arrow_tables(small_rows()))
    tables = CanonicalTables.open(tmp_path)
    assert tables.schema == SCHEMA
    assert validate(tables) == []
    for name, rows in arrow_tables(small_rows()).items():
        assert getattr(tables, name)().equals(rows)


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    """Writing sorts: the same rows in another order give the same bytes."""
    shuffled = {name: rows[::-1] for name, rows in small_rows().items()}
    write(tmp_path / "a", arrow_tables(small_rows()))
    write(tmp_path / "b", arrow_tables(shuffled))
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def _set(table: str, row: int, **values: object) -> Bend:
    return lambda rows: rows[table][row].update(values)


def _repeat(table: str, row: int, **values: object) -> Bend:
    return lambda rows: rows[table].append(rows[table][row] | values)


ID_RULE = "must be 1 to 64 bytes of UTF-8 text without control characters"
PERIOD = "must be at or after 2026-01-01T00:00:00 and before 2026-01-05T00:00:00 (UTC)"

MALFORMED: dict[str, tuple[Bend, Problem]] = {
    "empty id": (
        _repeat("users", 0, user_id=""),
        Problem("users.parquet", "user_id", 1, "''", ID_RULE),
    ),
    "missing id": (
        _repeat("items", 0, item_id=None),
        Problem("items.parquet", "item_id", 3, "missing", ID_RULE),
    ),
    "id of 65 bytes": (
        _repeat("items", 0, item_id="é" * 32 + "x"),
        Problem("items.parquet", "item_id", 3, repr("é" * 32 + "x"), ID_RULE),
    ),
    "control character": (
        _repeat("users", 0, user_id="v\n"),
        Problem("users.parquet", "user_id", 4, repr("v\n"), ID_RULE),
    ),
    "user twice": (
        _repeat("users", 1),
        Problem("users.parquet", "user_id", 3, "'u2'", "user_id must be unique"),
    ),
    "item twice": (
        _repeat("items", 0),
        Problem("items.parquet", "item_id", 2, "'i1'", "item_id must be unique"),
    ),
    "empty attribute": (
        _set("users", 1, age=""),
        Problem("users.parquet", "age", 2, "''", "must be a value or missing, not empty text"),
    ),
    "empty category": (
        _set("items", 1, type=""),
        Problem("items.parquet", "type", 2, "''", "must be a value or missing, not empty text"),
    ),
    "number not finite": (
        _set("users", 0, spend=float("nan")),
        Problem("users.parquet", "spend", 1, "'nan'", CONTINUOUS_RULE),
    ),
    "unknown user": (
        _set("clicks", 2, user_id="u9"),
        Problem("clicks.parquet", "user_id", 3, "'u9'", "must be one of the user_id of users"),
    ),
    "unknown item": (
        _set("purchases", 2, item_id="i9"),
        Problem("purchases.parquet", "item_id", 3, "'i9'", "must be one of the item_id of items"),
    ),
    "search of nobody": (
        _set("searches", 0, user_id=None),
        Problem("searches.parquet", "user_id", 1, "missing", "must be one of the user_id of users"),
    ),
    "missing query": (
        _set("searches", 0, query=None),
        Problem("searches.parquet", "query", 1, "missing", "must not be missing"),
    ),
    "missing time": (
        _set("purchases", 2, time=None),
        Problem("purchases.parquet", "time", 3, "missing", "must not be missing"),
    ),
    "before history": (
        _set("purchases", 2, time=at(1).replace(year=2025)),
        Problem("purchases.parquet", "time", 1, "'2025-01-01 00:00:00'", PERIOD),
    ),
    "at the end of the test": (
        _set("clicks", 3, time=at(5)),
        Problem("clicks.parquet", "time", 4, "'2026-01-05 00:00:00'", PERIOD),
    ),
    "label 2": (
        _set("clicks", 3, label=2),
        Problem("clicks.parquet", "label", 4, "'2'", "must be 0 or 1"),
    ),
    "label missing": (
        _set("clicks", 3, label=None),
        Problem("clicks.parquet", "label", 4, "missing", "must be 0 or 1"),
    ),
    "empty request": (
        _set("clicks", 3, request_id=""),
        Problem("clicks.parquet", "request_id", 4, "''", ID_RULE),
    ),
    "request of two users": (
        _set("clicks", 1, user_id="u2"),
        Problem("clicks.parquet", "request_id", 2, "'r1'", "a request_id must have one user_id"),
    ),
    "request at two times": (
        _set("clicks", 1, time=at(2, 1)),
        Problem("clicks.parquet", "request_id", 2, "'r1'", "a request_id must have one time"),
    ),
    "item twice in a request": (
        _repeat("clicks", 3),
        Problem("clicks.parquet", "item_id", 5, "'i1'", "a request must hold an item only once"),
    ),
}


@pytest.mark.parametrize(("bend", "expected"), MALFORMED.values(), ids=MALFORMED.keys())
def test_broken_rule_is_named_and_nothing_is_written(
    tmp_path: Path, bend: Bend, expected: Problem
) -> None:
    """A broken rule is reported with file, column, row, value and rule; the folder stays empty."""
    rows = small_rows()
    bend(rows)
    with pytest.raises(InvalidTables) as caught:
        write(tmp_path, arrow_tables(rows))
    assert expected in caught.value.problems
    assert str(expected) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TABLES)
def test_unsorted_rows_are_found(tmp_path: Path, name: str) -> None:
    """A table that somebody reordered is refused: readers rely on the order."""
    rows = small_rows()
    rows["searches"].append({"user_id": "u1", "query": "oats", "time": at(2)})
    tables = write(tmp_path, arrow_tables(rows))
    pq.write_table(arrow_tables(rows)[name][::-1], tables.path(name))
    problems = validate(tables)
    assert {problem.rule for problem in problems} == {
        f"rows must be sorted by {', '.join(ORDER[name])}"
    }


def test_first_problems_of_a_kind_and_their_total(tmp_path: Path) -> None:
    """A thousand broken rows give the first few and the count, not a thousand lines."""
    rows = small_rows()
    rows["purchases"] = [{"user_id": "u1", "item_id": "i9", "time": at(1)}] * 1000
    with pytest.raises(InvalidTables) as caught:
        write(tmp_path, arrow_tables(rows))
    assert [problem.row for problem in caught.value.problems] == [1, 2, 3, 4, 5]
    assert len(caught.value.problems) == SHOWN_PER_RULE
    assert {problem.total for problem in caught.value.problems} == {1000}


def _with_columns(tables: CanonicalTables, name: str, rows: pa.Table) -> list[str]:
    pq.write_table(rows, tables.path(name))
    return [str(problem) for problem in validate(tables)]


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    """An absent, mistyped or unknown column is named with what was expected."""
    tables = write(tmp_path, arrow_tables(small_rows()))
    clicks = tables.clicks()
    wrong = clicks.drop_columns(["label"]).append_column("colour", clicks["user_id"])
    wrong = wrong.set_column(2, "time", clicks["time"].cast(pa.timestamp("us")))
    assert _with_columns(tables, "clicks", wrong) == [
        "clicks.parquet: column time: is timestamp[us]; must be timestamp[ms]",
        "clicks.parquet: column label: is absent; must be there as int8",
        "clicks.parquet: column colour: is there; must be named in dataset.json or left out",
    ]


def test_table_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    """A table cut short on its way is an error that names the file."""
    tables = write(tmp_path, arrow_tables(small_rows()))
    tables.path("items").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"items\.parquet is no Parquet file"):
        validate(tables)


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    """Tables are never written among other files."""
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="is not empty"):
        write(tmp_path, arrow_tables(small_rows()))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_open_names_what_is_absent(tmp_path: Path) -> None:
    """A folder without canonical tables is refused by the names of the absent files."""
    write(tmp_path, arrow_tables(small_rows())).path("clicks").unlink()
    with pytest.raises(ConfigError, match=r"clicks\.parquet not found"):
        CanonicalTables.open(tmp_path)


def _json_with(**values: object) -> str:
    return json.dumps(json.loads(SCHEMA.to_json()) | values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no dataset schema"),
        ("[]", "is no dataset schema"),
        ("{}", "is no dataset schema"),
        (_json_with(colour="red"), "colour"),
        (_json_with(split={}), "is no dataset schema"),
        (_json_with(split=json.loads(SCHEMA.to_json())["split"] | {"test_end": "soon"}), "soon"),
        (_json_with(name=""), "name is ''"),
        (_json_with(event="view"), "event is 'view'; expected click or exposure"),
        (_json_with(profile_windows_days=[7, 7, 30]), "expected three increasing numbers of days"),
        (_json_with(profile_windows_days=[7, 30]), "expected three increasing numbers of days"),
        (_json_with(profile_windows_days=[7, 14, 999_999]), "days, 36500 at most"),
        (_json_with(side=["Item_ID"]), "expected names other than"),
        (_json_with(discrete=["age", "Age"]), "expected names used once"),
        (_json_with(categories=[]), "expected one level at least"),
        (_json_with(discrete=["age", "spend"]), "expected names used once"),
        (_json_with(side=["text"]), "expected names other than"),
    ],
)
def test_wrong_schema_is_refused(text: str, message: str) -> None:
    """A wrong dataset.json is refused with the key, its value and what was expected."""
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        DatasetSchema.from_json(text)


def test_boundaries_must_increase() -> None:
    """A split whose parts overlap or are empty is refused with its boundaries."""
    with pytest.raises(ConfigError, match="boundaries must increase"):
        replace(SPLIT, validation_start=SPLIT.test_start)
    with pytest.raises(ConfigError, match="boundaries must increase"):
        replace(SPLIT, history_start=at(3))
    with pytest.raises(ConfigError, match="train_start has a time zone"):
        replace(SPLIT, train_start=at(2).astimezone())


NAMES = st.lists(st.text(min_size=1, max_size=9), unique_by=str.casefold, max_size=4).map(tuple)
TIMES = st.lists(
    st.datetimes(at(1), at(1).replace(year=2030)).map(
        lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
    ),
    min_size=5,
    max_size=5,
    unique=True,
)


@settings(max_examples=50)
@given(names=NAMES, times=TIMES, provenance=st.text())
def test_schema_survives_json(names: tuple[str, ...], times: list, provenance: str) -> None:  # type: ignore[type-arg]
    """dataset.json says all that a schema says."""
    schema = replace(SCHEMA, discrete=names, split=Split(*sorted(times)), provenance=provenance)
    assert DatasetSchema.from_json(schema.to_json()) == schema
