"""Group figures: how alike the users of a group are, for any grouping."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline.events import CanonicalTables
from offline.generations import GenerationFiles
from offline.group_map import number_groups
from offline.group_report.measures import concentration, consistency
from offline.histories import Ints, positions, seconds


def group_figures(tables: CanonicalTables, files: GenerationFiles) -> Mapping[str, float]:
    """The two figures that the paper tells of its groups, of the groups whose priors are read.

    Args:
        tables: the canonical tables.
        files: the groups of a cut.

    Returns:
        ``attribute_consistency``, the mean over discrete attributes, and ``top50_share`` of the
        purchases before the cut; NaN where there is nothing to count.

    Source: section 5.5.
    """
    group = _served(files)
    users = tables.users()
    shares = [consistency(group, _codes(users[name])) for name in tables.schema.discrete]
    known = [share for share in shares if share is not None]
    buyer, category = _bought(tables, files.as_of_s)
    share = concentration(group[buyer], category)
    return {
        "attribute_consistency": float(np.mean(known)) if known else np.nan,
        "top50_share": np.nan if share is None else share,
    }


def _served(files: GenerationFiles) -> Ints:
    """int64 ``[N]``: the number of the prefix whose prior each user reads."""
    codes = np.load(files.codes, allow_pickle=False)
    depths = np.load(files.depths, allow_pickle=False)
    prefixes = np.where(np.arange(codes.shape[1]) < depths[:, None], codes, -1)
    numbers: Ints = number_groups(prefixes.astype(np.int32))[1]
    return numbers


def _bought(tables: CanonicalTables, before_s: int) -> tuple[Ints, Ints]:
    """Buyer and finest category of every purchase before a moment."""
    purchases, items = tables.purchases(), tables.items()
    early = purchases.take(np.flatnonzero(seconds(purchases["time"]) < before_s))
    leaf = _codes(items[tables.schema.categories[-1]])
    bought = positions(early["item_id"], items["item_id"])
    return positions(early["user_id"], tables.users()["user_id"]), leaf[bought]


def _codes(column: "pa.ChunkedArray[Any]") -> Ints:
    """int64 numbers of a column's values; -1 where one is missing."""
    encoded: Any = pc.dictionary_encode(column.combine_chunks())
    return np.asarray(encoded.indices.fill_null(-1), np.int64)
