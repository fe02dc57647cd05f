"""A made-up household panel in the files of the real one, and its rows counted by hand."""

import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FIRST_MONDAY = datetime.fromisoformat("2017-01-02T05:00:00")
HOUSEHOLDS = 40
PRODUCTS = 60
UNKNOWN_PRODUCT = 99
ODD_DEPARTMENTS = {1: "FUEL", 2: "MISCELLANEOUS", 3: "COUPON", 4: None}

Exposure = tuple[int, int, int, int]
"""household, basket, product, label"""


@dataclass
class Panel:
    """Rows of the panel's four files; change them, then ``save`` them."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def buy(self, week: int, household: int, products: list[int], basket: int, store: int) -> None:
        """Add a basket; its time follows from its week and number."""
        time = FIRST_MONDAY + timedelta(weeks=week - 2, minutes=1 + basket % 9973)
        for product in products:
            self.lines.append(
                {
                    "household_id": household,
                    "store_id": store,
                    "basket_id": basket,
                    "product_id": product,
                    "quantity": 1,
                    "week": week,
                    "transaction_timestamp": time,
                }
            )

    def show(self, week: int, store: int, product: int) -> None:
        """Put a product on display in a store."""
        self.shown.append({"product_id": product, "store_id": store, "week": week})

    def save(self, folder: Path) -> Path:
        """Write the four files."""
        folder.mkdir(parents=True, exist_ok=True)
        tables = {
            "transactions": self.lines,
            "promotions": self.shown,
            "products": [product_row(number) for number in range(1, PRODUCTS + 1)],
            "demographics": [_demographics(number) for number in range(1, 11)],
        }
        for name, rows in tables.items():
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
        return folder


def product_row(number: int) -> dict[str, Any]:
    """A row of the product table."""
    return {
        "product_id": number,
        "manufacturer_id": number % 7,
        "department": ODD_DEPARTMENTS.get(number, "GROCERY"),
        "brand": "Private" if number % 2 else "National",
        "product_category": "FROZEN" if number % 5 else None,
        "product_type": f"FROZEN FRUIT {number}",
        "package_size": "10 OZ" if number % 3 else None,
    }


def _demographics(number: int) -> dict[str, Any]:
    names = ["age", "income", "home_ownership", "marital_status", "household_size"]
    names += ["household_comp", "kids_count"]
    return {"household_id": number} | {
        name: f"{name} {number % 3}" if number % 4 else None for name in names
    }


def random_panel(seed: int) -> Panel:
    """A panel of 40 households, 60 products and 2 stores from week 8 to week 33."""
    draw = random.Random(seed)  # noqa: S311
    panel = Panel()
    for week in range(8, 34):
        for store in (1, 2):
            for product in range(1, PRODUCTS + 1):
                # Some stand on display and in the mailer: two rows, one exposure.
                for _ in range(draw.choice((0, 0, 1, 1, 2))):
                    panel.show(week, store, product)
        for household in range(1, HOUSEHOLDS + 1):
            if draw.random() < 0.5:
                products = {min(PRODUCTS, int(draw.paretovariate(0.4))) for _ in range(9)}
                products |= {UNKNOWN_PRODUCT} if draw.random() < 0.1 else set()
                basket = week * 1000 + household
                panel.buy(week, household, sorted(products), basket, draw.choice((1, 2)))
    return panel


def expected_exposures(panel: Panel, week: int, last_week_counted: int = -1) -> set[Exposure]:
    """Rows of a week by the protocol, counted slowly and plainly.

    ``last_week_counted`` is relative to the week: 0 plants the leak of counting popularity in
    the week itself.
    """
    bucket = _buckets(panel, week, last_week_counted)
    shown = {(row["store_id"], row["product_id"]) for row in panel.shown if row["week"] == week}
    baskets: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for line in panel.lines:
        if line["week"] == week:
            key = (line["household_id"], line["basket_id"], line["store_id"])
            baskets[key].add(line["product_id"])
    rows: set[Exposure] = set()
    for (household, basket, store), bought in baskets.items():
        on_show = {product for place, product in shown if place == store and product in bucket}
        pairs = [
            (
                sha256(f"{household}|{basket}|{positive}|{candidate}".encode()).digest(),
                positive,
                candidate,
            )
            for positive in bought & on_show
            for candidate in on_show - bought
            if bucket[positive] == bucket[candidate]
        ]
        rows |= {(household, basket, *row) for row in _greedy(sorted(pairs))}
    return rows


def _buckets(panel: Panel, week: int, last: int) -> dict[int, int]:
    buyers: dict[int, set[int]] = defaultdict(set)
    for line in panel.lines:
        if week - 4 <= line["week"] <= week + last:
            buyers[line["product_id"]].add(line["household_id"])
    allowed = {
        number
        for number in range(1, PRODUCTS + 1)
        if product_row(number)["department"] not in ("FUEL", "MISCELLANEOUS", "COUPON", None)
    }
    return {
        product: math.floor(2 * math.log2(len(households)))
        for product, households in buyers.items()
        if len(households) >= 5 and product in allowed
    }


def _greedy(pairs: list[tuple[bytes, int, int]]) -> set[tuple[int, int]]:
    taken: dict[int, int] = {}
    count: Counter[int] = Counter()
    for _, positive, candidate in pairs:
        if candidate not in taken and count[positive] < 4:
            taken[candidate] = positive
            count[positive] += 1
    kept = {positive for positive in count if count[positive] >= 2}
    negatives = {(candidate, 0) for candidate, positive in taken.items() if positive in kept}
    return negatives | {(positive, 1) for positive in kept}
