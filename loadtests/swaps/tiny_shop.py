"""The tiny shop: bundles of some kilobytes, whose answers follow from plain arithmetic."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from loadtests.swaps.shop import HOUR, WEEKDAY, Ask, Logit, turn
from model.desired import Target
from tests.fixtures.bundles import AS_OF_S, ITEMS, USERS, World, make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer


class TinyShop:
    """24 users, 40 items; every version has its own weights, and one contract."""

    time_s = AS_OF_S + 4000
    user_ids: Sequence[str] = USERS
    item_ids: Sequence[str] = ITEMS
    candidates = 20

    def write(self, version: int, folder: Path) -> None:
        """As ``Shop.write``."""
        write_bundle(make_world(version), folder)

    def publish(self, generation: str, redis: RedisServer) -> None:
        """As ``Shop.publish``."""
        publish(_records(Target(1, generation)), redis.client(), generation)

    def expected(self, target: Target, ask: Ask) -> Logit:
        """As ``Shop.expected``, item by item."""
        world = _records(target)
        user = world.users[ask.user_id]
        group = world.groups[user.prefix]
        return Logit(
            *world.expected(user, group, self.time_s, HOUR, WEEKDAY, ask.item_ids),
        )


@lru_cache(maxsize=8)
def _records(target: Target) -> World:
    """A version with a generation's records: every user's are those of another one."""
    world = make_world(target.version)
    places = turn(target.generation, len(USERS))
    turned = USERS[places:] + USERS[:places]
    users = {i: replace(world.users[t], user_id=i) for i, t in zip(USERS, turned, strict=True)}
    return replace(world, users=users)
