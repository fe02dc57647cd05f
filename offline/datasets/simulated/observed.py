"""What is observed of simulated users before day 0, read back from the canonical tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from offline.datasets.simulated.archetypes import Ints
from offline.datasets.simulated.names import ATTRIBUTES
from offline.datasets.simulated.past import Events, Queries
from offline.datasets.simulated.queries import QUERIES, query_words
from offline.events import CanonicalTables


@dataclass(frozen=True, eq=False)
class Observed:
    """What a profile of N users may be written from."""

    attributes: Ints
    """int32 ``[N, 6]``; -1 = missing."""
    purchases: Events
    """Of the history; ``user`` counts the N users, times are left at 0."""
    queries: Queries


def observed(tables: CanonicalTables, user_ids: "pa.Array[Any]") -> Observed:
    """Read users' attributes, purchases and queries before training starts.

    Args:
        tables: of a simulated data set.
        user_ids: string ``[N]``: which users.

    Returns:
        What is observed of them, in their order.
    """
    users = tables.users()
    ids: list[Any] = user_ids.to_pylist()
    places = pc.index_in(user_ids, value_set=users["user_id"].combine_chunks())
    chosen = users.take(places)
    columns = [_codes(chosen[name], values) for name, values in ATTRIBUTES.items()]
    start = pa.scalar(tables.schema.split.train_start, pa.timestamp("ms"))
    bought = _events(tables, "purchases", user_ids, start)
    asked = _events(tables, "searches", user_ids, start)
    user = _codes(asked["user_id"], ids)
    leaf, price, style = query_words(_codes(asked["query"], QUERIES).astype(np.int64))
    return Observed(
        attributes=np.stack(columns, axis=1),
        purchases=Events(
            user=_codes(bought["user_id"], ids).astype(np.int64),
            time_s=np.zeros(len(bought), np.int64),
            item=_item_numbers(bought["item_id"]),
        ),
        queries=Queries(
            user=user.astype(np.int64),
            time_s=np.zeros(len(asked), np.int64),
            leaf=leaf,
            price=price,
            style=style,
        ),
    )


def _events(
    tables: CanonicalTables, name: str, user_ids: "pa.Array[Any]", before: "pa.Scalar[Any]"
) -> pa.Table:
    rows = ds.dataset(tables.path(name))
    return rows.to_table(filter=ds.field("user_id").isin(user_ids) & (ds.field("time") < before))


def _codes(column: "pa.ChunkedArray[Any]", values: Sequence[str]) -> Ints:
    """Positions among values; -1 where a value is missing."""
    found = pc.index_in(column, value_set=pa.array(values, pa.string()))
    return np.asarray(found.fill_null(-1), np.int32)


def _item_numbers(column: "pa.ChunkedArray[Any]") -> NDArray[np.int32]:
    return np.asarray(pc.utf8_slice_codeunits(column, 1).cast(pa.int32()), np.int32)
