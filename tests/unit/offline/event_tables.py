"""Random event tables of a few users, dense enough that events meet rows at the same moment."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import Phase, settings
from hypothesis import strategies as st

from model.spec import SECONDS_PER_DAY, FeatureSpec
from offline.histories import Histories
from tests.synthetic import feature_spec

BASE_S = 1_700_000_000
DAY_S = SECONDS_PER_DAY
SPEC = feature_spec(history_len=3)
USERS = ("u0", "u1", "u2")
ITEMS = ("i0", "i1", "i2", "i3")

search = settings(
    database=None, derandomize=True, phases=(Phase.generate,), report_multiple_bugs=False
)
"""For a property that must fail: the same examples each time, the first failure ends it."""

Event = tuple[str, str, int]
"""User, item (or query), time in milliseconds since the epoch."""

moments_ms = st.builds(
    lambda day, second, ms: (BASE_S + day * DAY_S + second) * 1000 + ms,
    st.integers(-30, 2),
    st.integers(0, 2),
    st.sampled_from([0, 0, 400, 999]),
)
"""A month of days with a few seconds each: ties, windows and parts of seconds all occur."""

events = st.lists(
    st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS), moments_ms), max_size=25
)


@dataclass(frozen=True)
class Events:
    """What users did."""

    purchases: list[Event]
    clicks: list[Event]
    searches: list[Event]

    def before(self, end_ms: int) -> "Events":
        """What happened before a moment."""

        def early(rows: list[Event]) -> list[Event]:
            return [row for row in rows if row[2] < end_ms]

        return Events(early(self.purchases), early(self.clicks), early(self.searches))

    def histories(self, spec: FeatureSpec = SPEC) -> Histories:
        """The users' histories."""
        return Histories.build(
            spec,
            users_table(),
            events_table(self.purchases, "item_id"),
            events_table(self.clicks, "item_id"),
            events_table(self.searches, "query"),
        )


any_events = st.builds(Events, events, events, events)


def users_table() -> pa.Table:
    """Three users: everything, nothing, and an unseen value."""
    columns: dict[str, Any] = {
        "user_id": pa.array(USERS),
        "age": pa.array(["age1", None, "age9"]),
        "city": pa.array(["city0", None, "city2"]),
        "income": pa.array([1.5, None, -2.0], pa.float64()),
    }
    return pa.table(columns)


def events_table(rows: list[Event], what: str) -> pa.Table:
    """Canonical events; ``what`` names the column of the item or query."""
    columns: dict[str, Any] = {
        "user_id": pa.array([row[0] for row in rows], pa.string()),
        what: pa.array([row[1] for row in rows], pa.string()),
        "time": pa.array([row[2] for row in rows], pa.int64()).cast(pa.timestamp("ms")),
    }
    return pa.table(columns)
