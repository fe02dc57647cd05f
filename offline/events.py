"""Canonical tables: users, items, clicks, purchases and searches in one folder of Parquet."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from model.whole_file import whole_file
from offline.engine import Engine, connect
from offline.rules import (
    ConfigError,
    InvalidTables,
    Problem,
    Roles,
    Source,
    content_checks,
    first_problems,
    numbered,
    order_checks,
    period_checks,
)

SCHEMA_FILE = "dataset.json"
EVENTS = ("click", "exposure")
MAX_WINDOW_DAYS = 36_500
"""A century: moments before a cut stay moments that calendars know."""
TEXT = pa.string()
TIME = pa.timestamp("ms")
ORDER: Final[Mapping[str, tuple[str, ...]]] = {
    "users": ("user_id",),
    "items": ("item_id",),
    "clicks": ("time", "request_id", "item_id"),
    "purchases": ("time", "user_id", "item_id"),
    "searches": ("time", "user_id", "query"),
}
TABLES = tuple(ORDER)
_OWN_COLUMNS = ("user_id", "item_id", "text", "row", "depth", "prefix", "size", "items", "times")


@dataclass(frozen=True)
class Split:
    """When history, training, validation and test begin and the test ends (UTC, no zone).

    Each part runs from its start to the next part's start, which it leaves out.
    """

    history_start: datetime
    train_start: datetime
    validation_start: datetime
    test_start: datetime
    test_end: datetime

    def __post_init__(self) -> None:
        """Refuse boundaries out of order.

        Raises:
            ConfigError: unless history_start <= train_start < validation_start < test_start
                < test_end.
        """
        zoned = [name for name, time in _times(self) if time.tzinfo is not None]
        if zoned:
            raise ConfigError(f"split.{zoned[0]} has a time zone: give UTC without a zone")
        starts = [time for _, time in _times(self)]
        later = all(a < b for a, b in pairwise(starts[1:]))
        if starts[0] > starts[1] or not later:
            listed = ", ".join(f"{name} = {time.isoformat()}" for name, time in _times(self))
            raise ConfigError(f"split: boundaries must increase, but are {listed}")


def _times(split: Split) -> list[tuple[str, datetime]]:
    return [(field.name, getattr(split, field.name)) for field in fields(split)]


@dataclass(frozen=True)
class DatasetSchema:
    """What ``dataset.json`` says: the columns of users and items, and how to read events."""

    name: str
    discrete: tuple[str, ...]
    """Attributes of users with named values."""
    continuous: tuple[str, ...]
    """Attributes of users that are numbers."""
    categories: tuple[str, ...]
    """Category levels of items, coarse to fine."""
    side: tuple[str, ...]
    """Further named values of items."""
    event: str
    """What a row of clicks is: "click" or "exposure"."""
    clicks_are_sampled: bool
    """True when clicks were sampled, so that they never count as activity."""
    profile_windows_days: tuple[int, int, int]
    """Ends of the recent, medium and long window in days before the cut; disjoint."""
    split: Split
    provenance: str
    """Quoted beside every figure."""

    def __post_init__(self) -> None:
        """Refuse a schema that no tables could satisfy.

        Raises:
            ConfigError: naming the key, its value and what was expected.
        """
        _require(bool(self.name), "name", self.name, "a text that is not empty")
        _require(self.event in EVENTS, "event", self.event, " or ".join(EVENTS))
        windows = self.profile_windows_days
        increasing = all(a < b for a, b in pairwise((0, *windows)))
        increasing = increasing and [type(days) for days in windows] == [int] * 3
        expected = f"three increasing numbers of days, {MAX_WINDOW_DAYS} at most"
        within = increasing and windows[-1] <= MAX_WINDOW_DAYS
        _require(within, "profile_windows_days", windows, expected)
        _require(len(self.categories) > 0, "categories", self.categories, "one level at least")
        check_names(self.discrete + self.continuous)
        check_names(self.categories + self.side)

    def columns(self) -> Mapping[str, pa.Schema]:
        """Arrow schema of each table, by the table's name."""
        attributes = _typed(self.discrete, TEXT) + _typed(self.continuous, pa.float64())
        event = [*_typed(("user_id", "item_id"), TEXT), pa.field("time", TIME)]
        click = [*event, pa.field("label", pa.int8()), pa.field("request_id", TEXT)]
        search = [*_typed(("user_id", "query"), TEXT), pa.field("time", TIME)]
        labels = _typed(self.categories + self.side, TEXT)
        return {
            "users": pa.schema([pa.field("user_id", TEXT), *attributes]),
            "items": pa.schema([*_typed(("item_id", "text"), TEXT), *labels]),
            "clicks": pa.schema(click),
            "purchases": pa.schema(event),
            "searches": pa.schema(search),
        }

    def empty(self, name: str) -> ibis.Table:
        """A table without rows, such as the searches of a log that has none."""
        return ibis.memtable(self.columns()[name].empty_table())

    @property
    def roles(self) -> Roles:
        """Which columns the rules treat as named values and which as numbers."""
        labels = {"users": self.discrete, "items": self.categories + self.side}
        return Roles(labels=labels, continuous=self.continuous)

    def to_json(self) -> str:
        """Readable JSON; equal schemas give equal bytes."""
        values = asdict(self)
        values["split"] = {
            name: time.isoformat(timespec="milliseconds") for name, time in _times(self.split)
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "DatasetSchema":
        """Read what ``to_json`` wrote.

        Raises:
            ConfigError: when the text is not such a schema.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            split = {name: datetime.fromisoformat(at) for name, at in values["split"].items()}
            lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
            return cls(**(values | lists | {"split": Split(**split)}))
        except ConfigError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{SCHEMA_FILE} is no dataset schema: {error}") from error


def check_names(names: Sequence[str]) -> None:
    """Refuse names that the columns of one table cannot have.

    Raises:
        ConfigError: when a name is empty, used twice or taken by a column of another meaning.
    """
    once = len({name.casefold() for name in names}) == len(names)
    _require(once, "columns", names, "names used once, whatever their case")
    clash = [name for name in names if not name or name.casefold() in _OWN_COLUMNS]
    _require(not clash, "columns", clash, f"names other than {', '.join(_OWN_COLUMNS)}")


def _typed(names: tuple[str, ...], kind: pa.DataType) -> "list[pa.Field[Any]]":
    return [pa.field(name, kind) for name in names]


def _require(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{SCHEMA_FILE}: {key} is {value!r}; expected {expected}")


@dataclass(frozen=True)
class CanonicalTables:
    """A folder of canonical tables and its schema."""

    folder: Path
    schema: DatasetSchema

    @classmethod
    def open(cls, folder: Path) -> "CanonicalTables":
        """Open a folder; its rows were validated when they were written.

        Raises:
            ConfigError: when ``dataset.json`` or a table is absent or ``dataset.json`` is wrong.
        """
        absent = [name for name in _file_names() if not (folder / name).is_file()]
        if absent:
            raise ConfigError(f"{folder} holds no canonical tables: {', '.join(absent)} not found")
        text = (folder / SCHEMA_FILE).read_text(encoding="utf-8")
        return cls(folder, DatasetSchema.from_json(text))

    @classmethod
    def write(
        cls,
        folder: Path,
        schema: DatasetSchema,
        tables: Mapping[str, ibis.Table],
        engine: Engine,
    ) -> "CanonicalTables":
        """Sort, write and validate tables; ``dataset.json`` comes last.

        Args:
            folder: an empty folder, or one to be made.
            schema: what the tables must satisfy.
            tables: by name, expressions with the columns of ``schema``.
            engine: runs the expressions.

        Returns:
            The tables as written; equal rows give equal bytes.

        Raises:
            InvalidTables: when rows break rules; the folder is then left empty.
            ConfigError: when the folder is not empty.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty: name an empty folder or a new one")
        written = cls(folder, schema)
        try:
            written._write_tables(tables, engine)
            _refuse(validate(written))
        except BaseException:
            for name in _file_names():
                (folder / name).unlink(missing_ok=True)
            raise
        return written

    def _write_tables(self, tables: Mapping[str, ibis.Table], engine: Engine) -> None:
        for name, columns in self.schema.columns().items():
            engine.write_parquet(tables[name], self.path(name), ORDER[name], columns)
        with whole_file(self.folder / SCHEMA_FILE) as partial:
            partial.write_text(self.schema.to_json(), encoding="utf-8")

    def path(self, name: str) -> Path:
        """The Parquet file of a table, by the table's name."""
        return self.folder / f"{name}.parquet"

    def users(self) -> pa.Table:
        """Users and their attributes, sorted by user_id."""
        return pq.read_table(self.path("users"))

    def items(self) -> pa.Table:
        """Items with text, category levels and side fields, sorted by item_id."""
        return pq.read_table(self.path("items"))

    def clicks(self) -> pa.Table:
        """Clicks or exposures with their label, sorted by time, request_id, item_id."""
        return pq.read_table(self.path("clicks"))

    def purchases(self) -> pa.Table:
        """Purchase lines, sorted by time, user_id, item_id."""
        return pq.read_table(self.path("purchases"))

    def searches(self) -> pa.Table:
        """Search queries, sorted by time, user_id, query; may hold no rows."""
        return pq.read_table(self.path("searches"))


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise InvalidTables(problems)


def _file_names() -> list[str]:
    return [*(f"{name}.parquet" for name in TABLES), SCHEMA_FILE]


def validate(tables: CanonicalTables) -> list[Problem]:
    """Check every rule on canonical tables.

    Args:
        tables: the folder and its schema.

    Returns:
        The first problems of each kind, each with the kind's total; empty when all is well.
        Rows are only read once every column is there with its type.
    """
    problems = list(_column_problems(tables))
    if problems:
        return problems
    with connect() as engine:
        return _row_problems(tables, engine)


def _row_problems(tables: CanonicalTables, engine: Engine) -> list[Problem]:
    rows = {name: numbered(engine.read_parquet(tables.path(name))) for name in TABLES}
    split = tables.schema.split
    checks = [
        *content_checks(rows, tables.schema.roles),
        *period_checks(rows, split.history_start, split.test_end),
        *order_checks(rows, ORDER),
    ]
    return first_problems(engine, checks, {n: Source(f"{n}.parquet", {}) for n in TABLES})


def _column_problems(tables: CanonicalTables) -> Iterator[Problem]:
    for name, expected in tables.schema.columns().items():
        yield from _differences(f"{name}.parquet", _present(tables.path(name)), expected)


def _present(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{path} is no Parquet file: {error}") from error


def _differences(file: str, present: pa.Schema, expected: pa.Schema) -> Iterator[Problem]:
    for field in expected:
        if field.name not in present.names:
            yield Problem(file, field.name, None, "absent", f"must be there as {field.type}")
        elif present.field(field.name).type != field.type:
            found = str(present.field(field.name).type)
            yield Problem(file, field.name, None, found, f"must be {field.type}")
    for name in sorted(set(present.names) - set(expected.names)):
        yield Problem(file, name, None, "there", f"must be named in {SCHEMA_FILE} or left out")
