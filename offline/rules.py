"""The rules that canonical tables keep, and the problems of rows that break them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_, or_

import ibis

from model.spec import MAX_ID_BYTES
from offline.engine import Engine, byte_length

SHOWN_PER_RULE = 5
CONTROL_CHARACTERS = r"[\x00-\x1f\x7f]"
CONTINUOUS_BOUND = 1e18
"""Exact sums over all users have room for values below it."""
CONTINUOUS_RULE = (
    f"must be a number between -{CONTINUOUS_BOUND:g} and {CONTINUOUS_BOUND:g}, or missing"
)
ID_RULE = f"must be 1 to {MAX_ID_BYTES} bytes of UTF-8 text without control characters"


class DatasetError(Exception):
    """A dataset cannot be used.

    DatasetError
     |- InvalidTables   its rows break rules
     '- ConfigError     its description is wrong
    """


class ConfigError(DatasetError, ValueError):
    """The description of a dataset is wrong: a key, a value, a file that is not there."""


@dataclass(frozen=True)
class Problem:
    """One row, or one column as a whole, that breaks a rule."""

    file: str
    column: str
    row: int | None
    """Counted from 1, a header line not counted; None when the column as a whole is meant."""
    value: str
    rule: str
    total: int = 1
    """Rows of the file that break this rule; problems name the first few of them."""

    def __str__(self) -> str:
        """The problem in one line."""
        if self.row is None:
            return f"{self.file}: column {self.column}: is {self.value}; {self.rule}"
        place = f"{self.file}: column {self.column}, row {self.row}"
        return f"{place}: is {self.value}; {self.rule} (rows that break this: {self.total})"


class InvalidTables(DatasetError):
    """Tables break rules; ``problems`` holds the first of each kind."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"the tables cannot be used, and nothing was written:\n{lines}")


@dataclass(frozen=True)
class Source:
    """Where a table came from: the names that problems use."""

    file: str
    columns: Mapping[str, str]
    """Canonical column to the file's own; a column not named here keeps its name."""


@dataclass(frozen=True)
class Roles:
    """Which columns of users and items play which part."""

    labels: Mapping[str, Sequence[str]]
    """By table, columns of named values: attributes, category levels, side fields."""
    continuous: Sequence[str]


@dataclass(frozen=True)
class Check:
    """A rule on one table and the rows that break it."""

    table: str
    column: str
    rule: str
    broken: ibis.Table
    """Columns ``row`` (from 1) and ``value``."""


Tables = Mapping[str, ibis.Table]


def numbered(table: ibis.Table) -> ibis.Table:
    """The table with a column ``row`` that counts its rows from 1, in file order."""
    return table.mutate(row=ibis.row_number() + 1)


def first_problems(
    engine: Engine, checks: Iterable[Check], sources: Mapping[str, Source]
) -> list[Problem]:
    """Run checks and collect the first problems of each.

    Args:
        engine: runs the checks.
        checks: the checks, in the order in which problems are listed.
        sources: by table name, the names that problems use.

    Returns:
        At most ``SHOWN_PER_RULE`` problems per check, each with the check's total.
    """
    return [
        problem for check in checks for problem in _problems(engine, check, sources[check.table])
    ]


def _problems(engine: Engine, check: Check, source: Source) -> Iterator[Problem]:
    broken = check.broken.select(
        "row", value=check.broken["value"].cast("string"), total=check.broken.count()
    )
    for row in engine.arrow(broken.order_by("row").limit(SHOWN_PER_RULE)).to_pylist():
        yield Problem(
            file=source.file,
            column=source.columns.get(check.column, check.column),
            row=row["row"],
            value="missing" if row["value"] is None else repr(row["value"]),
            rule=check.rule,
            total=row["total"],
        )


def content_checks(tables: Tables, roles: Roles) -> Iterator[Check]:
    """Every rule on what tables say, in whatever order their rows stand.

    Args:
        tables: by name users, items, clicks, purchases, searches; each with ``row``.
        roles: which columns of users and items play which part.
    """
    for table, key in (("users", "user_id"), ("items", "item_id")):
        yield _is_id(tables, table, key)
        yield _is_unique(tables, table, (key,), f"{key} must be unique")
    yield from _attribute_checks(tables, roles)
    for table in ("clicks", "purchases", "searches"):
        yield _refers(tables, table, "user_id", "users")
        yield _is_present(tables, table, "time")
    for table in ("clicks", "purchases"):
        yield _refers(tables, table, "item_id", "items")
    yield _is_present(tables, "searches", "query")
    yield from _click_checks(tables)


def period_checks(tables: Tables, start: datetime, end: datetime) -> Iterator[Check]:
    """Events lie inside the period: start <= time < end."""
    rule = f"must be at or after {start.isoformat()} and before {end.isoformat()} (UTC)"
    for table in ("clicks", "purchases", "searches"):
        time = tables[table]["time"]
        outside = (time < ibis.timestamp(start)) | (time >= ibis.timestamp(end))
        yield _check(tables, table, "time", rule, outside)


def order_checks(tables: Tables, keys: Mapping[str, Sequence[str]]) -> Iterator[Check]:
    """Rows stand in ascending order of the key columns, by table name."""
    for table, columns in keys.items():
        rule = f"rows must be sorted by {', '.join(columns)}"
        yield _check(tables, table, columns[0], rule, _descends(tables[table], columns))


def _check(tables: Tables, table: str, column: str, rule: str, broken: ibis.Value) -> Check:
    rows = tables[table]
    return Check(table, column, rule, rows.filter(broken).select("row", value=rows[column]))


def _is_present(tables: Tables, table: str, column: str) -> Check:
    return _check(tables, table, column, "must not be missing", tables[table][column].isnull())


def _is_id(tables: Tables, table: str, column: str) -> Check:
    value = tables[table][column]
    broken = (
        value.isnull()
        | ~byte_length(value).between(1, MAX_ID_BYTES)
        | value.re_search(CONTROL_CHARACTERS)
    )
    return _check(tables, table, column, ID_RULE, broken)


def _is_unique(tables: Tables, table: str, key: Sequence[str], rule: str) -> Check:
    rows = tables[table]
    counts = rows.group_by(list(key)).aggregate(rows=rows.count(), row=rows["row"].max())
    repeated = counts.filter(counts["rows"] > 1)
    return Check(table, key[-1], rule, repeated.select("row", value=repeated[key[-1]]))


def _refers(tables: Tables, table: str, column: str, target: str) -> Check:
    rows = tables[table]
    strangers = rows.anti_join(tables[target].select(column), column)
    rule = f"must be one of the {column} of {target}"
    return Check(table, column, rule, strangers.select("row", value=strangers[column]))


def _attribute_checks(tables: Tables, roles: Roles) -> Iterator[Check]:
    for table, columns in roles.labels.items():
        for column in columns:
            rule = "must be a value or missing, not empty text"
            yield _check(tables, table, column, rule, tables[table][column] == "")
    for column in roles.continuous:
        value = tables["users"][column]
        broken = value.isnan() | (value.abs() >= CONTINUOUS_BOUND)
        yield _check(tables, "users", column, CONTINUOUS_RULE, broken)


def _click_checks(tables: Tables) -> Iterator[Check]:
    clicks = tables["clicks"]
    label = clicks["label"]
    yield _check(tables, "clicks", "label", "must be 0 or 1", label.isnull() | ~label.isin([0, 1]))
    yield _is_id(tables, "clicks", "request_id")
    for column in ("user_id", "time"):
        yield _is_constant(clicks, column)
    yield _is_unique(
        tables, "clicks", ("request_id", "item_id"), "a request must hold an item only once"
    )


def _is_constant(clicks: ibis.Table, column: str) -> Check:
    rule = f"a request_id must have one {column}"
    value = clicks[column]
    ranges = clicks.group_by("request_id").aggregate(
        row=clicks["row"].max(), least=value.min(), most=value.max()
    )
    mixed = ranges.filter(ranges["least"] != ranges["most"])
    return Check("clicks", "request_id", rule, mixed.select("row", value=mixed["request_id"]))


def _descends(rows: ibis.Table, columns: Sequence[str]) -> ibis.Value:
    """True where a row's key is below the key of the row before it."""
    pairs = [(rows[column], rows[column].lag()) for column in columns]
    steps = [
        reduce(and_, [now == before for now, before in pairs[:depth]], pairs[depth][0] < before)
        for depth, (_, before) in enumerate(pairs)
    ]
    return reduce(or_, steps)
