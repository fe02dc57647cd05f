"""A shop in which a user's club decides what the user buys; many are known by their club alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from offline.events import CanonicalTables, Split
from tests.unit.offline.small_tables import SCHEMA, Rows, arrow_tables, at, write

CLUBS = ("red", "blue", "green", "grey")
AISLES = {"red": "fruit", "blue": "tools", "green": "novels", "grey": "tents"}
USERS, ITEMS, PURCHASES = 240, 40, 6
CUT = at(21)
PLANTED = replace(
    SCHEMA,
    discrete=("club", "town"),
    continuous=(),
    categories=("aisle",),
    side=("brand",),
    profile_windows_days=(5, 10, 20),
    split=Split(at(1), CUT, at(24), at(26), at(28)),
)


def club(user: int) -> str:
    """The club of a user."""
    return CLUBS[user % len(CLUBS)]


def planted_rows(seed: int = 0) -> Rows:
    """Rows of the shop: every third user buys nothing before the cut; towns say nothing."""
    rng = np.random.default_rng(seed)
    aisles = list(AISLES.values())
    items = [
        {
            "item_id": f"i{number:02}",
            "text": None,
            "aisle": aisles[number % len(aisles)],
            "brand": str(rng.choice(["acme", "cedar"])),
        }
        for number in range(ITEMS)
    ]
    users = [
        {
            "user_id": f"u{number:03}",
            "club": club(number),
            "town": str(rng.choice(["north", "south", "east", "west"])),
        }
        for number in range(USERS)
    ]
    bought: list[dict[str, Any]] = []
    for number in range(USERS):
        first = 21 if number % 3 == 0 else 1
        for _ in range(PURCHASES):
            liked = aisles.index(AISLES[club(number)]) + len(aisles) * rng.integers(10)
            item = liked if rng.random() < 0.8 else rng.integers(ITEMS)
            time = at(int(rng.integers(first, 25)), int(rng.integers(24)))
            bought.append({"user_id": f"u{number:03}", "item_id": f"i{item:02}", "time": time})
    bought.sort(key=lambda row: (row["time"], row["user_id"], row["item_id"]))
    return {"users": users, "items": items, "purchases": bought, "searches": [], "clicks": []}


def planted_shop(folder: Path, rows: Rows | None = None) -> CanonicalTables:
    """The shop as canonical tables."""
    return write(folder, arrow_tables(rows or planted_rows(), PLANTED), PLANTED)
