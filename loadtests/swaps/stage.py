"""The stage: a Redis, bundles, generations and replicas, and the targets that take turns on it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.swaps.fingerprints import records
from loadtests.swaps.replicas import SERVICE, Replica, replicas
from model.desired import Target
from tests.fixtures.bundles import make_world, publish, write_bundle
from tests.fixtures.redis import running_redis

FIRST = Target(1, "g0")


@dataclass(frozen=True)
class Stage:
    """Replicas that run and serve the first target."""

    replicas: Sequence[Replica]


def course(swaps: int) -> list[Target]:
    """The first target, and one more for each swap: of the model and of the generation in turn.

    Args:
        swaps: of both kinds together.
    """
    targets = [FIRST]
    for number in range(swaps):
        version, generation = targets[-1].version, int(targets[-1].generation[1:])
        moves = (Target(version + 1, f"g{generation}"), Target(version, f"g{generation + 1}"))
        targets.append(moves[number % 2])
    return targets


@contextmanager
def stage(
    folder: Path, targets: Sequence[Target], program: Sequence[str] = SERVICE
) -> Iterator[Stage]:
    """Write everything the targets need and start the replicas; all ends with the block.

    Args:
        folder: for everything.
        targets: the first one serves.
        program: the service, or a broken one.
    """
    for version in sorted({target.version for target in targets}):
        write_bundle(make_world(version), folder / "repository" / str(version))
    (folder / "redis").mkdir()
    with running_redis(folder / "redis") as redis:
        for name in dict.fromkeys(target.generation for target in targets):
            publish(records(make_world(1), name), redis.client(), name)
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
            yield Stage(running)
