"""The stage: a Redis, bundles, generations and replicas, and the targets that take turns on it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtests.swaps.replicas import SERVICE, Replica, replicas
from loadtests.swaps.shop import Shop
from model.desired import Target
from tests.fixtures.redis import running_redis

FIRST = Target(1, "g0")


def course(swaps: int, versions: int | None = None) -> list[Target]:
    """The first target, and one more for each swap: of the model and of the generation in turn.

    Args:
        swaps: of both kinds together.
        versions: after as many, versions and generations begin again; None: each comes once.
    """
    cycle = versions or swaps + 1
    return [
        Target(1 + (number + 1) // 2 % cycle, f"g{number // 2 % cycle}")
        for number in range(swaps + 1)
    ]


@contextmanager
def stage(
    folder: Path, shop: Shop, targets: Sequence[Target], program: Sequence[str] = SERVICE
) -> Iterator[Sequence[Replica]]:
    """Write everything the targets need and start the replicas; all ends with the block.

    Args:
        folder: for everything.
        shop: what is sold.
        targets: the first one serves.
        program: the service, or a broken one.
    """
    for version in sorted({target.version for target in targets}):
        shop.write(version, folder / "repository" / str(version))
    (folder / "redis").mkdir()
    with running_redis(folder / "redis") as redis:
        for name in dict.fromkeys(target.generation for target in targets):
            shop.publish(name, redis)
        environment = {
            "CHOIRREC_REPOSITORY": str(folder / "repository"),
            "CHOIRREC_REDIS_URL": redis.url,
            "CHOIRREC_STATE": redis.url,
            "CHOIRREC_MODEL_VERSION": str(targets[0].version),
            "CHOIRREC_GENERATION": targets[0].generation,
            # A busy machine must not turn a right answer into a degraded one.
            "CHOIRREC_FETCH_BUDGET_MS": "1000",
            # Made-up users are no reason to roll a canary back.
            "CHOIRREC_GUARD_WINDOW_S": "86400",
        }
        with replicas(environment, folder, program) as running:
            yield running
