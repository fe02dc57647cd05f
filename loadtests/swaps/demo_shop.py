"""The demo shop: bundles of the demo's network, exported as any other, with full histories."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from loadtests.swaps.shop import HOUR, WEEKDAY, Ask, Logit, turn
from loadtests.training_rows import ITEMS, STEPS, feature_spec, rows
from model.assembly import Catalogue
from model.codebooks import Codebooks
from model.desired import Target
from model.generation import Generation
from model.golden import GoldenRequest, PriorSnapshot
from model.losses import LossConfig
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from model.records import GroupRecord, UserRecord
from model.spec import FIRST_CODE, item_key
from offline.export import Ingredients, answer, export_bundle
from offline.golden_requests import choose_requests
from offline.publish import publish
from offline.redis_client import RedisClient
from tests.fixtures.redis import RedisServer
from tests.ingredients import WIDTH, ingredients

AS_OF_S = 1_700_000_000
DAY_S = 86_400
USERS = 200
HELD_OUT = 64
"""Contexts of the rows that an export compares."""
ITEM_IDS = tuple(f"item-{number}" for number in range(ITEMS))
CONFIG = NetworkConfig.demo()
CODEBOOKS = Codebooks(np.zeros((3, 6, WIDTH), np.float32))
GENERATIONS_KEPT = 1_000


class DemoShop:
    """200 users with 50 purchases each, 10,000 items, networks of the demo's sizes, untrained."""

    time_s = AS_OF_S + DAY_S
    user_ids = tuple(f"user-{number}" for number in range(USERS))
    item_ids = ITEM_IDS
    candidates = 50

    def __init__(self) -> None:
        """Draw the items, and the rows that exports are checked on."""
        self._spec = feature_spec()
        self._lookups, self._held_out = rows(HELD_OUT, 8, seed=0)
        keys = np.sort(np.array([item_key(item) for item in ITEM_IDS], np.uint64))
        codes = self._lookups.item_codes[FIRST_CODE:].astype(np.int32)
        self._catalogue = Catalogue(keys, codes)
        self._groups = {prefix: _group(prefix) for prefix in [(), *((n,) for n in range(6))]}
        self._contract = ""

    def write(self, version: int, folder: Path) -> None:
        """As ``Shop.write``."""
        folder.parent.mkdir(exist_ok=True, parents=True)
        self._contract = export_bundle(self._made(version), version, folder).feature_contract

    def publish(self, generation: str, redis: RedisServer) -> None:
        """As ``Shop.publish``; after a version was written, whose contract it takes."""
        users = list(_users(generation).values())
        meta = Generation(
            name=generation,
            feature_contract=self._contract,
            as_of_s=AS_OF_S,
            written_at_s=AS_OF_S,
            users=len(users),
            groups=len(self._groups),
            items=0,
            id_chunks=0,
            complete=False,
        )
        client = RedisClient(redis.url)
        publish(client, meta, users, self._groups.values(), keep=GENERATIONS_KEPT)

    def expected(self, target: Target, ask: Ask) -> Logit:
        """As ``Shop.expected``, by the network before its export."""
        user = _users(target.generation)[ask.user_id]
        group = self._groups[user.prefix]
        request = GoldenRequest(user, group, AS_OF_S, self.time_s, HOUR, WEEKDAY, ask.item_ids)
        found = answer(self._network(target.version), self._spec, self._catalogue, request)
        individual, group_logits = np.array(found.individual_logits), np.array(found.group_logits)
        return Logit(individual, group_logits, found.alpha_fusion)

    @lru_cache(maxsize=8)  # noqa: B019 - shops live as long as the bench
    def _network(self, version: int) -> ChoirRec:
        return ChoirRec(self._spec, CONFIG, self._lookups, LossConfig(), version)

    def _made(self, version: int) -> Ingredients:
        """What a bundle is made of; the small parts are those of a test's."""
        requests = choose_requests(
            self._spec, list(_users("g0").values()), self._groups, ITEM_IDS, AS_OF_S
        )
        return replace(
            ingredients(),
            model=self._network(version),
            spec=self._spec,
            config=CONFIG,
            catalogue=self._catalogue,
            codebooks=CODEBOOKS,
            snapshot=PriorSnapshot("at-export", AS_OF_S, self._groups),
            requests=requests,
            held_out=self._held_out,
        )


@lru_cache(maxsize=8)
def _users(generation: str) -> dict[str, UserRecord]:
    places = turn(generation, USERS)
    return {f"user-{n}": _user(f"user-{n}", (n + places) % USERS) for n in range(USERS)}


def _user(user_id: str, number: int) -> UserRecord:
    chance = np.random.default_rng(number)
    return UserRecord(
        user_id=user_id,
        written_at_s=AS_OF_S,
        attributes=_attributes(chance),
        continuous=np.zeros(0, np.float32),
        purchase_items=_items(chance),
        purchase_times=AS_OF_S - DAY_S * np.arange(STEPS, 0, -1, dtype=np.int64),
        purchases=STEPS,
        window_purchases=number % 12,
        window_clicks=2 * number % 60,
        window_active_days=number % 12,
        group_id=np.array([number % 6, number % 5, number % 4], np.int32),
        prefix_depth=1,
    )


def _group(prefix: tuple[int, ...]) -> GroupRecord:
    chance = np.random.default_rng([1, *prefix])
    return GroupRecord(
        prefix=prefix,
        written_at_s=AS_OF_S,
        attributes=_attributes(chance),
        continuous=np.zeros(0, np.float32),
        items=_items(chance),
        times=AS_OF_S - DAY_S * np.arange(STEPS, 0, -1, dtype=np.int64),
        size=100,
    )


def _attributes(chance: np.random.Generator) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    sizes = [field.size for field in feature_spec().attributes]
    return np.array([chance.integers(FIRST_CODE, size) for size in sizes], np.int32)


def _items(chance: np.random.Generator) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    chosen = chance.choice(len(ITEM_IDS), STEPS, replace=False)
    return np.array([item_key(ITEM_IDS[place]) for place in chosen], np.uint64)
