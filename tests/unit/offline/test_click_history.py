"""Click history: what a model may know of a user's earlier clicks, and of what came of them."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.network.batch import BOUGHT, LEFT, PENDING, SplitRows
from model.spec import SECONDS_PER_DAY, age_buckets
from offline.click_history import ClickLog
from tests.synthetic import world

Click = tuple[int, int, int, int]
"""Hour, user, item from 2, label."""
clicks = st.lists(
    st.tuples(st.integers(0, 72), st.integers(0, 2), st.integers(2, 6), st.integers(0, 1)),
    min_size=1,
    max_size=30,
)


def rows_of(events: list[Click]) -> SplitRows:
    """One context per click."""
    columns = np.array(events, np.int64).T
    hours, users, items, labels = columns
    empty = world().split
    return replace(
        empty,
        row_context=np.arange(len(events)),
        row_item=items,
        label=labels.astype(np.float32),
        context_user=users,
        context_time=hours * 3600,
    )


@given(clicks, st.integers(1, 5))
def test_a_context_sees_its_users_last_clicks_with_mature_outcomes(
    events: list[Click], length: int
) -> None:
    """As a plain loop would say: strictly earlier, oldest first, pending within a day."""
    rows = rows_of(events)
    found = ClickLog.of([rows]).before(rows, length)
    for context, (hour, user, _, _) in enumerate(events):
        earlier = sorted((e for e in events if e[1] == user and e[0] < hour), key=lambda e: e[0])
        kept = earlier[-length:]
        age_s = [(hour - e[0]) * 3600 for e in kept]
        outcomes = [
            PENDING if age < SECONDS_PER_DAY else BOUGHT if e[3] else LEFT
            for e, age in zip(kept, age_s, strict=True)
        ]
        padding = [0] * (length - len(kept))
        ages = age_buckets(np.array(age_s, np.int64)).tolist()
        assert found.items[context].tolist() == [e[2] for e in kept] + padding
        assert found.outcomes[context].tolist() == outcomes + padding
        assert found.ages[context].tolist() == ages + padding
