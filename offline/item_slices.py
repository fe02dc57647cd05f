"""Item slices: rows by how often their item was bought before training."""

import numpy as np
from numpy.typing import NDArray

from model.assembly import Catalogue
from model.network.batch import SplitRows
from model.spec import FIRST_CODE
from offline.histories import Histories, Ints

RARE_PURCHASES = 100
"""An item with fewer purchases before training is rare."""


def item_purchases(catalogue: Catalogue, histories: Histories, before_s: int) -> Ints:
    """Count the purchases of each item.

    Args:
        catalogue: I items.
        histories: the event logs.
        before_s: only purchases strictly before it count: where training starts.

    Returns:
        int64 ``[I + 2]`` by catalogue row; 0 for PAD and for unknown items.
    """
    log = histories.purchases
    rows = catalogue.rows(log.keys[log.times < before_s])
    known = rows[rows >= FIRST_CODE]
    return np.bincount(known, minlength=len(catalogue.keys) + FIRST_CODE).astype(np.int64)


def rare_rows(rows: SplitRows, purchases: Ints) -> NDArray[np.bool_]:
    """Which rows have a rare candidate; evaluation only.

    Args:
        rows: N rows.
        purchases: int64 ``[I + 2]``, as ``item_purchases`` counts them.

    Returns:
        bool ``[N]``: whether the candidate was bought fewer than 100 times before training.
    """
    rare: NDArray[np.bool_] = purchases[rows.row_item] < RARE_PURCHASES
    return rare
