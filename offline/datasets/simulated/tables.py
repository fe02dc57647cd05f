"""The files of a simulated data set: the canonical tables, and the truth apart from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.whole_file import whole_file
from offline.datasets.simulated.archetypes import LEAF_L1
from offline.datasets.simulated.collection import NOT_DRAWN, USER_COLUMNS, Collection
from offline.datasets.simulated.names import (
    ATTRIBUTES,
    BRAND_NAMES,
    L1_NAMES,
    LEAF_NAMES,
    PRICE_TIERS,
    RATINGS,
    STYLES,
)
from offline.datasets.simulated.parquet import RowGroups, hexadecimal, numbered_ids
from offline.datasets.simulated.queries import QUERIES
from offline.datasets.simulated.segments import Segments
from offline.datasets.simulated.spill import PLACE_BITS, Records, Spill
from offline.datasets.simulated.world import World
from offline.events import SCHEMA_FILE, TIME, DatasetSchema, Split

DAY_0: Final = datetime(2026, 3, 4)  # noqa: DTZ001  canonical times are UTC without a zone
"""A Wednesday: training holds two weekends, validation is a Monday and the test a Tuesday."""
DAY_0_S: Final = int(DAY_0.replace(tzinfo=UTC).timestamp())
CATEGORIES: Final = ("category", "leaf")
SIDE: Final = ("brand", "price_tier", "style", "rating")
WINDOWS_DAYS: Final = (30, 120, 365)
TRUTH: Final = "truth"
WORLD_FILE: Final = "world.json"
USER_DIGITS: Final = 8
ITEM_DIGITS: Final = 7
Array = NDArray[Any]
Ints = NDArray[np.int64]


def schema_of(world: World) -> DatasetSchema:
    """What ``dataset.json`` of a world says."""
    constants = world.constants
    null = ", archetypes without effect (SIM-null)" if world.null else ""
    ends = (constants.days - 2, constants.days - 1, constants.days)
    return DatasetSchema(
        name=f"simulated_{'null_' if world.null else ''}{world.seed}",
        discrete=tuple(ATTRIBUTES),
        continuous=(),
        categories=CATEGORIES,
        side=SIDE,
        event="click",
        clicks_are_sampled=False,
        profile_windows_days=WINDOWS_DAYS,
        split=Split(
            DAY_0 - timedelta(days=constants.history_days),
            DAY_0,
            *(DAY_0 + timedelta(days=end) for end in ends),
        ),
        provenance=(
            f"Simulated, world {world.seed}{null}, constants {constants.digest()[:16]}: "
            "no person and no shop stands behind any row."
        ),
    )


def write_tables(folder: Path, world: World, collection: Collection) -> None:
    """Write the canonical tables and ``truth/``; ``dataset.json`` comes last.

    Args:
        folder: where to; it holds no files of these names.
        world: the world.
        collection: all blocks of the data set; it is empty afterwards.
    """
    schema = schema_of(world)
    tables = schema.columns()
    truth = folder / TRUTH
    truth.mkdir()
    _write_users(folder, tables["users"], collection.users)
    pq.write_table(_items(world, tables["items"]), folder / "items.parquet", compression="zstd")
    _write_clicks(folder, tables["clicks"], collection.clicks)
    with RowGroups(folder / "purchases.parquet", tables["purchases"]) as file:
        for time_s, user, item, _ in collection.purchases.drain():
            file.add({**_who(time_s, user), "item_id": item_ids(item)})
    with RowGroups(folder / "searches.parquet", tables["searches"]) as file:
        for time_s, user, code, _ in collection.searches.drain():
            file.add({**_who(time_s, user), "query": _named(QUERIES, code)})
    _write_panel(truth / "panel.parquet", tables["clicks"], collection.panel)
    pq.write_table(_segments(world, collection.segments), truth / "segments.parquet")
    (truth / WORLD_FILE).write_text(_world_json(world, len(collection.segments.clicks)))
    with whole_file(folder / SCHEMA_FILE) as partial:
        partial.write_text(schema.to_json(), encoding="utf-8")


def user_ids(numbers: Ints) -> "pa.Array[Any]":
    """Ids of users by their number."""
    return numbered_ids("u", USER_DIGITS, numbers)


def item_ids(numbers: Array) -> "pa.Array[Any]":
    """Ids of items by their number."""
    return numbered_ids("i", ITEM_DIGITS, numbers)


def _who(time_s: Ints, user: Ints) -> dict[str, Any]:
    return {"user_id": user_ids(user), "time": _times(time_s)}


def _times(time_s: Ints) -> "pa.Array[Any]":
    return pa.array((DAY_0_S + time_s) * 1000).cast(TIME)


def _named(values: Sequence[str], codes: Array) -> "pa.Array[Any]":
    """Values by their code; -1 is missing."""
    texts = np.array([*values, None], object)
    return pa.array(texts[codes].tolist(), pa.string())


def _write_users(folder: Path, schema: pa.Schema, users: Spill) -> None:
    taste = [pa.field(name, _arrow(*kind)) for name, kind in list(USER_COLUMNS.items())[1:]]
    true_schema = pa.schema([pa.field("user_id", pa.string()), *taste])
    with (
        RowGroups(folder / "users.parquet", schema) as known,
        RowGroups(folder / TRUTH / "users.parquet", true_schema) as truth,
    ):
        for _, number, _, records in users.drain():
            ids = user_ids(number)
            values = records["attributes"].T
            columns = {
                name: _named(names, codes)
                for (name, names), codes in zip(ATTRIBUTES.items(), values, strict=True)
            }
            known.add({"user_id": ids, **columns})
            truth.add({"user_id": ids, **{name: _list(records[name]) for name in taste_names()}})


def taste_names() -> list[str]:
    """Columns of ``truth/users.parquet`` beside ``user_id``."""
    return list(USER_COLUMNS)[1:]


def _arrow(kind: str, shape: tuple[int, ...] = ()) -> pa.DataType:
    value = pa.from_numpy_dtype(np.dtype(kind))
    return pa.list_(value, shape[0]) if shape else value


def _list(values: Array) -> "pa.Array[Any]":
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _items(world: World, schema: pa.Schema) -> pa.Table:
    items = world.items
    brand, style = _named(BRAND_NAMES, items.brand), _named(STYLES, items.style)
    leaf = _named(LEAF_NAMES, items.leaf)
    words: list[list[Any]] = [column.to_pylist() for column in (brand, style, leaf)]
    columns: dict[str, pa.Array[Any]] = {
        "item_id": item_ids(np.arange(len(items.leaf))),
        "text": pa.array([" ".join(named) for named in zip(*words, strict=True)]),
        "category": _named(L1_NAMES, LEAF_L1[items.leaf]),
        "leaf": leaf,
        "brand": brand,
        "price_tier": _named(PRICE_TIERS, items.tier - 1),
        "style": style,
        "rating": _named(RATINGS, items.rating),
    }
    return pa.table(columns, schema)


def _click_columns(time_s: Ints, user: Ints, place: Ints, records: Records) -> dict[str, Any]:
    return {
        **_who(time_s, user),
        "item_id": item_ids(records["item"]),
        "label": records["label"],
        "request_id": hexadecimal(user << PLACE_BITS | place),
    }


def _truth_columns(records: Records) -> dict[str, Any]:
    unknown = records["intent"] == NOT_DRAWN
    return {
        "probability": pa.array(records["probability"], mask=unknown),
        "intent": pa.array(records["intent"], mask=unknown),
    }


_TRUE_CLICK: "Final[list[pa.Field[Any]]]" = [
    pa.field("probability", pa.float32()),
    pa.field("intent", pa.int8()),
]


def _write_clicks(folder: Path, schema: pa.Schema, clicks: Spill) -> None:
    with (
        RowGroups(folder / "clicks.parquet", schema) as known,
        RowGroups(folder / TRUTH / "clicks.parquet", pa.schema(_TRUE_CLICK)) as truth,
    ):
        for time_s, user, place, records in clicks.drain():
            known.add(_click_columns(time_s, user, place, records))
            truth.add(_truth_columns(records))


def _write_panel(path: Path, clicks: pa.Schema, panel: Spill) -> None:
    scores: list[pa.Field[Any]] = [
        pa.field(name, pa.float32()) for name in ("archetype_appeal", "quality")
    ]
    with RowGroups(path, pa.schema([*clicks, *_TRUE_CLICK, *scores])) as file:
        for time_s, user, place, records in panel.drain():
            file.add(
                {
                    **_click_columns(time_s, user, place, records),
                    **_truth_columns(records),
                    **{field.name: records[field.name] for field in scores},
                }
            )


def _segments(world: World, segments: Segments) -> pa.Table:
    low = segments.low_activity(world.constants.low_share)
    counts = {field.name: getattr(segments, field.name) for field in fields(segments)}
    return pa.table({"user_id": user_ids(np.arange(len(low))), "low_activity": low, **counts})


def _world_json(world: World, n_users: int) -> str:
    values: Mapping[str, object] = {
        "world": world.seed,
        "users": n_users,
        "items": len(world.items.leaf),
        "null": world.null,
        "constants": world.constants.digest(),
        "activity_mu": world.activity.mu,
        "activity_sigma": world.activity.sigma,
        "base": world.base,
    }
    return json.dumps(values, indent=1) + "\n"
