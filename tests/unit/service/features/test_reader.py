"""Reading records from a real Redis: round trips, corrupt and missing records."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

import pytest

from model.bundle import Bundle, open_bundle
from model.generation import group_key, new_item_key, user_key
from service.features.priors import Priors
from service.features.reader import Ask, Evidence, RecordReader
from service.features.recall import AT_ONCE, recall
from service.features.redis_store import RedisStore
from service.metrics import Metrics
from tests.fixtures.bundles import NEW_ITEMS, World, publish
from tests.fixtures.redis import RedisServer


@pytest.fixture(scope="module")
def bundle(home: Path) -> Bundle:
    """Version 1, opened."""
    return open_bundle(home / "repository" / "1")


class _Reading:
    """A reader on a fresh generation, asked as often as a test likes."""

    def __init__(self, bundle: Bundle, world: World, server: RedisServer, name: str) -> None:
        self.name = name
        self.redis = server.client()
        self.generation = publish(world, self.redis, name)
        self.metrics = Metrics()
        self.priors = Priors(bundle, self.generation, 16)
        self.bundle = bundle
        self._spec = bundle.spec
        self._url = server.url

    def ask(self, *user_ids: str, items: Sequence[str] = ()) -> list[Evidence]:
        return asyncio.run(self._ask(user_ids, items))

    def recall(self, *prefixes: tuple[int, ...], wanted: Iterable[bool] = repeat(True)) -> None:
        """Read the priors of prefixes before anybody asks, while that is wanted."""
        answers = iter(wanted)

        async def run() -> None:
            async with self.reader() as reader:
                await recall(reader, prefixes, lambda: next(answers))

        asyncio.run(run())

    async def _ask(self, user_ids: Sequence[str], items: Sequence[str]) -> list[Evidence]:
        async with self.reader() as reader:
            return await reader.read([Ask(user_id, items) for user_id in user_ids])

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[RecordReader]:
        """A reader whose priors outlive it."""
        store = RedisStore(self._url, self.metrics.round_trips)
        yield RecordReader(
            store, self._spec, self.generation, self.priors, self.metrics, budget_s=5.0
        )
        await store.close()

    @property
    def round_trips(self) -> float:
        return float(self.metrics.round_trips._value.get())


@pytest.fixture
def reading(
    bundle: Bundle, world: World, redis_server: RedisServer, request: pytest.FixtureRequest
) -> _Reading:
    """A generation of its own for each test."""
    return _Reading(bundle, world, redis_server, request.node.name.replace("_", "-")[-40:])


def test_groups_are_read_once(reading: _Reading) -> None:
    """Two round trips for a group's first user, one for every later one."""
    reading.ask("user-1")
    assert reading.round_trips == 2
    reading.ask("user-1")
    reading.ask("user-4")
    assert reading.round_trips == 4


def test_a_whole_batch_takes_two_round_trips(reading: _Reading) -> None:
    """Requests of one batch share their questions."""
    found = reading.ask(*(f"user-{n}" for n in range(20)), items=NEW_ITEMS)
    assert reading.round_trips == 2
    assert [e.user.user_id for e in found if e.user] == [f"user-{n}" for n in range(20)]
    assert all(set(e.new_items) == set(NEW_ITEMS) for e in found)
    assert not any(e.degraded for e in found)


def test_missing_group_falls_to_a_shorter_prefix(reading: _Reading) -> None:
    """A user whose group has no record is answered by the prefix above it, and says so."""
    reading.redis.delete(group_key(reading.name, (1, 2)))
    (evidence,) = reading.ask("user-1")
    assert evidence.prior.prefix == (1,)
    assert evidence.degraded == ["group_record_missing"]
    assert evidence.step == "user_and_prefix_group"


def test_corrupt_group_is_counted_and_replaced(reading: _Reading) -> None:
    """A damaged group record is never used."""
    key = group_key(reading.name, (1, 2))
    blob = reading.redis.get(key)
    assert isinstance(blob, bytes)
    reading.redis.set(key, blob[:-1] + bytes([blob[-1] ^ 1]))
    (evidence,) = reading.ask("user-1")
    assert evidence.prior.prefix == (1,)
    assert evidence.degraded == ["group_record_corrupt"]
    assert reading.metrics.corrupt_records.labels("group")._value.get() == 1


@pytest.mark.parametrize("damage", ["flip", "truncate", "other"])
def test_corrupt_user_is_unavailable_never_used(reading: _Reading, damage: str) -> None:
    """A damaged record, or that of somebody else, is treated as missing and reported."""
    key = user_key(reading.name, "user-1")
    blob, other = reading.redis.get(key), reading.redis.get(user_key(reading.name, "user-2"))
    assert isinstance(blob, bytes)
    assert isinstance(other, bytes)
    broken = {"flip": blob[:9] + bytes([blob[9] ^ 4]) + blob[10:], "truncate": blob[:30]}
    reading.redis.set(key, broken.get(damage, other))
    (evidence,) = reading.ask("user-1")
    assert evidence.user is None
    assert evidence.user_status == "unavailable"
    assert evidence.activity_level is None
    assert evidence.degraded == ["user_record_corrupt"]
    assert evidence.step == "global_prior"


def test_corrupt_item_record_is_reported_once(reading: _Reading) -> None:
    """Damaged records of new items leave their items unknown."""
    for item_id in NEW_ITEMS:
        reading.redis.set(new_item_key(reading.name, item_id), b"rubbish")
    (evidence,) = reading.ask("user-1", items=NEW_ITEMS)
    assert evidence.new_items == {}
    assert evidence.degraded == ["item_record_corrupt"]
    assert reading.metrics.corrupt_records.labels("item")._value.get() == 2


def test_unknown_user_counts_as_least_active(reading: _Reading) -> None:
    """Somebody without a record has no activity; that is known, not unknown."""
    (evidence,) = reading.ask("nobody")
    assert (evidence.user_status, evidence.activity_level) == ("unknown", 1)
    assert evidence.degraded == ["user_unknown"]
    assert evidence.step == "global_prior"


def test_global_prior_must_be_there(reading: _Reading) -> None:
    """A generation without an intact global prior is damaged, and refused with its name."""
    reading.redis.delete(group_key(reading.name, ()))

    async def read() -> None:
        async with reading.reader() as reader:
            await reader.read_global_prior(asyncio.get_running_loop().time() + 5)

    with pytest.raises(LookupError, match=reading.name):
        asyncio.run(read())


def test_recalled_priors_cost_nobody_a_round_trip(reading: _Reading) -> None:
    """After a swap, answers find the groups that were asked for before it."""
    reading.ask("user-1")
    asked_for = reading.priors.prefixes
    reading.priors = Priors(reading.bundle, reading.generation, 16)
    reading.recall(*asked_for)
    before = reading.round_trips
    (evidence,) = reading.ask("user-1")
    assert reading.round_trips - before == 1
    assert (evidence.prior.prefix, evidence.degraded) == ((1, 2), [])
    assert reading.priors.prefixes == asked_for


def test_many_priors_are_recalled_in_small_parts(reading: _Reading) -> None:
    """Nobody who is answered meanwhile waits for all of them; what is gone is known as absent."""
    gone = [(5, n) for n in range(2 * AT_ONCE)]
    reading.recall(*gone, (1, 2))
    assert reading.round_trips == 3
    assert reading.priors.prefixes == ((1, 2),)
    assert all(reading.priors.is_absent(prefix) for prefix in gone)


def test_the_priors_used_last_are_recalled_first(reading: _Reading) -> None:
    """A swap that nobody wants any more, or that takes too long, has the most useful ones."""
    gone = [(5, n) for n in range(AT_ONCE)]
    reading.recall((1,), *gone, (1, 2), wanted=[True, False])
    assert list(reading.priors.prefixes) == [(1, 2)]
    reading.recall((1,), (1, 2))
    assert list(reading.priors.prefixes) == [(1,), (1, 2)]


def test_recalling_ends_with_a_store_that_fails(reading: _Reading) -> None:
    """A model does not wait for what only saves time."""
    reading._url = "redis://127.0.0.1:1/0"
    reading.recall((1, 2), (5, 5))
    assert reading.priors.prefixes == ()
    assert reading.round_trips == 1
