"""Results: the tidy table of all finished cells, and beside it every user's AUC.

A cell is (data set, method, preset, seed). Both files hold one Parquet row group per cell, in the
order of the cells' names; a cell that is written again takes the place of its former self.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.whole_file import whole_file

RESULTS_FILE = "paper.parquet"
USERS_FILE = "paper_users.parquet"
CELL = ("dataset", "method", "preset", "seed")
METRICS = (
    "gauc",
    "gauc_unweighted",
    "gauc_soft",
    "auc",
    "logloss",
    "pcoc",
    "alpha_fusion",
    "rows",
    "users",
    "one_class_users",
    "attribute_consistency",
    "top50_share",
)
"""``attribute_consistency`` and ``top50_share`` are of the groups a method read."""
TARGETS = ("test", "panel", "groups")
"""The rows that a value is of; ``groups`` is of no rows but of the users' groups."""
LEVELS = tuple(f"level_{level}" for level in range(1, 6))
SEGMENTS = ("low", "overall", *LEVELS, "rare_items", "frequent_items")
ROLES = ("design", "confirmation")

_TEXT: pa.DataType = pa.string()
_WHOLE: pa.DataType = pa.int64()
_REAL: pa.DataType = pa.float64()
_FLAG: pa.DataType = pa.bool_()
RESULTS = pa.schema(
    {
        "dataset": _TEXT,
        "role": _TEXT,
        "world": _WHOLE,
        "method": _TEXT,
        "grouping": _TEXT,
        "seed": _WHOLE,
        "preset": _TEXT,
        "target": _TEXT,
        "segment": _TEXT,
        "metric": _TEXT,
        "value": _REAL,
        "dense_parameters": _WHOLE,
        "table_parameters": _WHOLE,
        "validation": _REAL,
        "best_epoch": _WHOLE,
        "cpu_s": _REAL,
        "config_digest": _TEXT,
        "code_digest": _TEXT,
        "data_digest": _TEXT,
    }
)
"""A row per cell, target, segment and metric; ``world`` is null for a real data set, ``value`` NaN
where a metric is not defined."""
USER_AUCS = pa.schema(
    {
        "dataset": _TEXT,
        "method": _TEXT,
        "grouping": _TEXT,
        "preset": _TEXT,
        "seed": _WHOLE,
        "target": _TEXT,
        "soft": _FLAG,
        "user": _WHOLE,
        "auc": _REAL,
        "rows": _WHOLE,
        "low": _FLAG,
        "level": _WHOLE,
    }
)
"""A row per cell, target, kind of labels and user; users without a pair may be left out."""
_NULLABLE = ("world",)
_ROW_KEY = (*CELL, "target", "segment", "metric")
_USER_KEY = (*CELL, "target", "soft", "user")


class ResultsError(ValueError):
    """Results that cannot be read or kept."""


@dataclass(frozen=True)
class Results:
    """What was measured so far."""

    rows: pa.Table
    """Of schema ``RESULTS``."""
    users: pa.Table
    """Of schema ``USER_AUCS``."""


def write_results(folder: Path, rows: pa.Table, users: pa.Table) -> None:
    """Add finished cells to those of a folder; cells that are there already are replaced.

    One process at a time may write. Readers see the former files or the new ones; users' AUCs
    take their place first, so that no cell stands in the table without them.

    Args:
        folder: where ``paper.parquet`` and ``paper_users.parquet`` lie or will lie.
        rows: of schema ``RESULTS``, all rows of each of its cells.
        users: of schema ``USER_AUCS``, of the same cells.

    Raises:
        ResultsError: when columns, names or keys are not those of the schemas, or the two tables
            are of other cells; nothing is written then.
    """
    rows, users = _fitted(rows, RESULTS, "results"), _fitted(users, USER_AUCS, "users' AUCs")
    _check_names(rows)
    _check_unique(rows, _ROW_KEY, "results")
    _check_unique(users, _USER_KEY, "users' AUCs")
    unknown = set(_cells(users)) - set(_cells(rows))
    if unknown:
        raise ResultsError(f"users' AUCs of cells without results: {sorted(unknown)[:3]}")
    folder.mkdir(parents=True, exist_ok=True)
    replaced = set(_cells(rows))
    _merge(folder / USERS_FILE, users, replaced)
    _merge(folder / RESULTS_FILE, rows, replaced)


def read_results(folder: Path) -> Results:
    """Read all finished cells.

    Args:
        folder: where they lie.

    Returns:
        Both tables; empty ones where nothing has been finished.

    Raises:
        ResultsError: when a file is of another schema.
    """
    return Results(_read(folder / RESULTS_FILE, RESULTS), _read(folder / USERS_FILE, USER_AUCS))


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    if not path.is_file():
        return schema.empty_table()
    return _fitted(pq.read_table(path), schema, path.name)


def _fitted(table: pa.Table, schema: pa.Schema, what: str) -> pa.Table:
    """The table's columns in the schema's order and types."""
    missing = set(schema.names) - set(table.column_names)
    extra = set(table.column_names) - set(schema.names)
    if missing or extra:
        raise ResultsError(
            f"{what}: columns {sorted(missing)} are missing, {sorted(extra)} are unknown;"
            f" expected {schema.names}"
        )
    try:
        fitted = table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ResultsError(f"{what}: {error}; expected {schema}") from error
    holes = [n for n in schema.names if n not in _NULLABLE and fitted[n].null_count]
    if holes:
        raise ResultsError(f"{what}: nulls in {holes}; expected a value, or NaN where undefined")
    return fitted


def _check_names(rows: pa.Table) -> None:
    allowed = {"metric": METRICS, "target": TARGETS, "segment": SEGMENTS, "role": ROLES}
    for column, names in allowed.items():
        unknown = {str(one) for one in pc.unique(rows[column]).to_pylist()} - set(names)
        if unknown:
            raise ResultsError(f"{column} {sorted(unknown)} is unknown; expected one of {names}")


def _check_unique(table: pa.Table, key: tuple[str, ...], what: str) -> None:
    counts = table.group_by(list(key)).aggregate([([], "count_all")])
    twice = counts.filter(pc.field("count_all") > 1)
    if twice.num_rows:
        raise ResultsError(f"{what}: told twice: {twice.slice(0, 1).to_pylist()[0]}")


def _cells(table: pa.Table) -> dict[tuple[object, ...], pa.Table]:
    """The parts of a table by cell."""
    named = table.group_by(list(CELL)).aggregate([]).to_pylist()
    return {tuple(one[name] for name in CELL): _part(table, one) for one in named}


def _part(table: pa.Table, cell: dict[str, Any]) -> pa.Table:
    return table.filter(reduce(and_, [pc.field(name) == cell[name] for name in CELL]))


def _merge(path: Path, table: pa.Table, replaced: set[tuple[object, ...]]) -> None:
    """Write the file anew: former row groups but for replaced cells, and the table's."""
    fresh = _cells(table)
    former = pq.ParquetFile(path) if path.is_file() else None
    with whole_file(path) as partial, pq.ParquetWriter(partial, table.schema) as writer:
        kept = {} if former is None else dict(_places(former, replaced))
        for cell in sorted({*kept, *fresh}, key=repr):
            if cell in fresh:
                writer.write_table(fresh[cell], row_group_size=fresh[cell].num_rows)
            elif former is not None:
                part = former.read_row_group(kept[cell])
                writer.write_table(part.cast(table.schema), row_group_size=part.num_rows)


def _places(
    former: pq.ParquetFile, replaced: set[tuple[object, ...]]
) -> Iterator[tuple[tuple[object, ...], int]]:
    """The row group of each cell that stays."""
    for place in range(former.num_row_groups):
        first = former.read_row_group(place, columns=list(CELL)).slice(0, 1).to_pylist()
        cell = tuple(first[0][name] for name in CELL)
        if cell not in replaced:
            yield cell, place
