"""The shop of the scoring bench: a model of full size, trained on the household panel."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.generation import Generation
from model.records import UserRecord
from model.repository import Repository
from offline.artefacts import Store
from offline.evidence.model_report import model_report
from offline.presets import PRESETS
from offline.product import Product
from offline.release import Records, cut_records, publish_records, release
from offline.sources import complete_journey

PRESET = "spec"
"""The sizes of docs/model.md, sequences of 50."""
SEED = 0


@dataclass(frozen=True, eq=False)
class Shop:
    """What is served, and whom it knows."""

    repository: Path
    version: int
    records: Records
    item_ids: Sequence[str]

    @property
    def time_s(self) -> int:
        """The moment that the records speak of."""
        return self.records.side.as_of_s

    def publish(self, redis_url: str) -> Generation:
        """Write the records to a Redis."""
        return publish_records(self.records, redis_url).generation

    def users(self, count: int, seed: int = 0) -> list[UserRecord]:
        """Users drawn at random."""
        chance = random.Random(seed)
        return [chance.choice(self.records.users) for _ in range(count)]

    def candidates(self, count: int, seed: int) -> list[str]:
        """Items of the catalogue drawn at random."""
        return random.Random(seed).choices(self.item_ids, k=count)

    def environment(self, redis_url: str, store: Path) -> Mapping[str, str]:
        """The settings of a service that answers for it."""
        return {
            "CHOIRREC_REPOSITORY": str(self.repository),
            "CHOIRREC_MODEL_VERSION": str(self.version),
            "CHOIRREC_STORE": str(store),
            "CHOIRREC_REDIS_URL": redis_url,
            "CHOIRREC_DRAIN_S": "0",
            "CHOIRREC_KEEP_ALIVE_S": "3600",
            "CHOIRREC_FETCH_BUDGET_MS": "1000",
        }


def open_shop(root: Path, preset: str = PRESET) -> Shop:
    """Train, export and gather what is missing; the first time this takes minutes.

    Args:
        root: where stages and the repository stand.
        preset: by which it is trained.
    """
    product = Product(Store(root / "artefacts"), complete_journey("design"), PRESETS[preset])
    records = cut_records(product, product.served_cut())
    repository = root / "bench" / preset
    report = model_report(product, product.method, SEED)
    stands = Repository(str(repository))
    released = release(product, records, stands, SEED, root / "bench" / f"{preset}-triton", report)
    items = product.tables().items()["item_id"].to_pylist()
    return Shop(repository, released.version, records, [str(item) for item in items])
