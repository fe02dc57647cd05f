"""Contexts of items: purchases before training, found by item, for the model MELT."""

import numpy as np

from model.assembly import Catalogue
from model.baselines.item_contexts import ItemContexts
from model.spec import FIRST_CODE
from offline.histories import Histories, Ints

CONTEXTS_PER_ITEM = 50
HEAD_QUANTILE = 0.8
MIN_USER_THRESHOLD = 2
"""A head user has more purchases than this, so that a part of them is fewer than all."""


def item_contexts(catalogue: Catalogue, histories: Histories, before_s: int) -> ItemContexts:
    """Find what users had bought up to each item, and who counts as head.

    Args:
        catalogue: I items.
        histories: the event logs.
        before_s: only purchases strictly before it count: where training starts, so that no row
            sees a context later than itself.

    Returns:
        The contexts, of every item its newest 50; heads are beyond the 0.8 quantile of users and
        items with a purchase. Purchases of unknown items stand in contexts and have none.
    """
    log = histories.purchases
    early = np.flatnonzero(log.times < before_s)
    users = np.searchsorted(log.offsets, early, side="right") - 1
    items = catalogue.rows(log.keys)[early]
    counts = np.bincount(items, minlength=len(catalogue.keys) + FIRST_CODE).astype(np.int64)
    counts[:FIRST_CODE] = 0
    events, offsets = _by_item(items, log.times[early], counts)
    lengths = np.bincount(users)
    return ItemContexts(
        items=items,
        times_s=log.times[early],
        begins=np.searchsorted(users, users).astype(np.int64),
        events=events,
        offsets=offsets,
        counts=counts,
        item_threshold=_quantile(counts),
        user_threshold=max(MIN_USER_THRESHOLD, _quantile(lengths)),
        user_longest=int(lengths.max(initial=0)),
    )


def _by_item(items: Ints, times_s: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """The newest purchases of each item, oldest first, and where each item's begin."""
    order = np.lexsort((times_s, items))
    order = order[items[order] >= FIRST_CODE]
    ends = np.cumsum(counts)
    newer = ends[items[order]] - np.arange(len(order))
    kept = np.minimum(counts, CONTEXTS_PER_ITEM)
    offsets = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return order[newer <= CONTEXTS_PER_ITEM].astype(np.int64), offsets


def _quantile(counts: Ints) -> int:
    seen = counts[counts > 0]
    return int(np.quantile(seen, HEAD_QUANTILE, method="lower")) if len(seen) else 0
