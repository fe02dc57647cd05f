"""Contexts of items: of the past alone, found by item, heads told apart."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.assembly import Catalogue
from model.baselines.item_contexts import ItemContexts
from offline.histories import EventLog
from offline.item_contexts import CONTEXTS_PER_ITEM, item_contexts
from tests.baselines import histories

CATALOGUE = Catalogue(np.array([10, 20, 30], np.uint64), np.zeros((3, 0), np.int32))
Purchases = list[tuple[int, int, int]]

purchases = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 99), st.sampled_from([10, 20, 30, 77])),
    max_size=120,
)


def build(rows: Purchases, before_s: int = 1000) -> ItemContexts:
    """Contexts of purchases given as (user, time, item key)."""
    users, times, keys = np.array(rows or np.zeros((0, 3)), np.int64).reshape(-1, 3).T
    log = EventLog.build(users, times, keys.astype(np.uint64), 5)
    return item_contexts(CATALOGUE, histories(log), before_s)


@settings(max_examples=60, deadline=None)
@given(purchases, st.integers(0, 100), st.integers(1, 6))
def test_contexts_are_what_the_user_had_bought_up_to_the_item(
    rows: Purchases, before_s: int, steps: int
) -> None:
    """Every context ends at its item, holds one user's newest purchases, and none from too late."""
    found = build(rows, before_s)
    past = sorted((row for row in rows if row[1] < before_s), key=lambda row: row[:2])
    assert found.counts.sum() == sum(row[2] != 77 for row in past)
    for item in (2, 3, 4):
        events = found.events[found.offsets[item] : found.offsets[item + 1]]
        assert len(events) == min(found.counts[item], CONTEXTS_PER_ITEM)
        items, ages = found.prefixes(events, steps)
        for event, prefix, age in zip(events.tolist(), items, ages, strict=True):
            real = prefix[prefix > 0]
            user, time, _ = past[event]
            own = [row for row in past[: event + 1] if row[0] == user][-steps:]
            assert real[-1] == item
            assert (
                real.tolist() == CATALOGUE.rows(np.array([r[2] for r in own], np.uint64)).tolist()
            )
            assert all(row[1] <= time < before_s for row in own)
            assert ((age > 0) == (prefix > 0)).all()


def test_heads_are_beyond_the_quantile() -> None:
    """The most bought items and the busiest users are heads, those at the quantile are not."""
    rows = [(user, n, 10) for user in range(4) for n in range(3)]
    rows += [(4, n, 20) for n in range(40)] + [(4, 50, 30)]
    found = build(rows)
    assert found.counts.tolist() == [0, 0, 12, 40, 1]
    assert (found.item_threshold, found.user_threshold, found.user_longest) == (12, 3, 41)


def test_a_log_without_purchases_has_no_contexts() -> None:
    """Nothing bought before training is no error: nobody is head, and no item has a context."""
    found = build([(0, 500, 10)], before_s=100)
    assert not found.counts.any()
    assert not found.available(np.arange(5)).any()
    assert found.user_threshold == 2


def test_the_newest_and_drawn_contexts() -> None:
    """The newest come first; drawn ones are the item's own, as many as asked for."""
    found = build([(0, n, 10 + 10 * (n % 2)) for n in range(10)])
    assert found.latest(np.array([2, 4]), 3).tolist() == [[8, 6, 4], [-1, -1, -1]]
    share = np.array([[0.0, 0.99, 0.5], [0.2, 0.4, 0.6]], np.float32)
    drawn = found.drawn(np.array([2, 3]), share, np.array([3, 1]))
    assert drawn.tolist() == [[0, 8, 4], [3, -1, -1]]
