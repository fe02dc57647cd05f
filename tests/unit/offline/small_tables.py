"""A dataset of three users, small enough to read, for tests that bend it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa

from offline.engine import connect
from offline.events import TABLES, CanonicalTables, DatasetSchema, Split

Rows = dict[str, list[dict[str, Any]]]

SPLIT = Split(
    history_start=datetime.fromisoformat("2026-01-01"),
    train_start=datetime.fromisoformat("2026-01-02"),
    validation_start=datetime.fromisoformat("2026-01-03"),
    test_start=datetime.fromisoformat("2026-01-04"),
    test_end=datetime.fromisoformat("2026-01-05"),
)
SCHEMA = DatasetSchema(
    name="small",
    discrete=("age",),
    continuous=("spend",),
    categories=("department", "type"),
    side=("brand",),
    event="click",
    clicks_are_sampled=False,
    profile_windows_days=(1, 2, 3),
    split=SPLIT,
    provenance="made for tests",
)


def at(day: int, hour: int = 0) -> datetime:
    """A moment of January 2026."""
    return datetime.fromisoformat(f"2026-01-{day:02}T{hour:02}:00:00")


def small_rows() -> Rows:
    """Valid rows of every table, in canonical order."""
    return {
        "users": [
            {"user_id": "u1", "age": "old", "spend": 1.5},
            {"user_id": "u2", "age": None, "spend": None},
            {"user_id": "u3", "age": "young", "spend": -2.0},
        ],
        "items": [
            {"item_id": "i1", "text": "oats", "department": "food", "type": "oats", "brand": "a"},
            {"item_id": "i2", "text": None, "department": "food", "type": None, "brand": None},
        ],
        "clicks": [
            _click("u1", "i1", at(2), 0, "r1"),
            _click("u1", "i2", at(2), 1, "r1"),
            _click("u2", "i1", at(3), 0, "r2"),
            _click("u3", "i1", at(4), 1, "r3"),
        ],
        "purchases": [
            {"user_id": "u1", "item_id": "i1", "time": at(1)},
            {"user_id": "u1", "item_id": "i1", "time": at(1)},
            {"user_id": "u3", "item_id": "i2", "time": at(4, 5)},
        ],
        "searches": [{"user_id": "u2", "query": "oats", "time": at(1, 7)}],
    }


def _click(user: str, item: str, time: datetime, label: int, request: str) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "time": time, "label": label, "request_id": request}


def arrow_tables(rows: Rows, schema: DatasetSchema = SCHEMA) -> dict[str, pa.Table]:
    """The rows as Arrow tables of the schema's types."""
    columns = schema.columns()
    return {name: pa.Table.from_pylist(rows[name], columns[name]) for name in TABLES}


def write(
    folder: Path, tables: Mapping[str, pa.Table], schema: DatasetSchema = SCHEMA
) -> CanonicalTables:
    """Write Arrow tables as canonical tables."""
    expressions = {name: ibis.memtable(table) for name, table in tables.items()}
    with connect(threads=1) as engine:
        return CanonicalTables.write(folder, schema, expressions, engine)
