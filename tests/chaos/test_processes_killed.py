"""Workers and supervisors of two replicas killed amid promotions: then all serve one pair."""

import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.bundles import World, make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import Client, service_process, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

KILLS = 30
VERSIONS = 3
SETTLED_S = 60.0
GONE = 99


class Killed:
    """One of two replicas of two workers each; it is killed in parts and in whole."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it.

        Args:
            environment: its CHOIRREC_* variables, the state's place among them.
        """
        self._environment = environment
        self._stack = ExitStack()
        self.client, self._process = self._started()

    def kill(self, victim: str) -> None:
        """SIGKILL a worker by its number, or the supervisor, which is then started again."""
        if victim != "supervisor":
            os.kill(self._pid(int(victim)), signal.SIGKILL)
            return
        self._process.send_signal(signal.SIGKILL)
        self.stop()
        self.client, self._process = self._started()

    def stop(self) -> None:
        """End it."""
        self._stack.close()

    def order(self, verb: str, **fields: Any) -> int:
        """The status of an order; ``GONE`` when the supervisor is killed amid it."""
        order = {"who": "a test", "why": "to see", **fields}
        try:
            return httpx.post(
                f"{self.client.admin_url}/admin/{verb}", json=order, timeout=180
            ).status_code
        except httpx.TransportError:
            return GONE

    def desired(self) -> dict[str, Any]:
        """The desired state, as the store has it."""
        return dict(self._state()["desired"])

    def serves_what_is_desired(self) -> bool:
        """Whether every worker of both has settled, and every answer here is the champion's."""
        state = self._state()
        champion = state["desired"]["champion"]
        workers = [worker for replica in state["replicas"] for worker in replica["workers"]]
        ready = [worker for worker in workers if worker["ready"]]
        return (
            bool(state["converged"])
            and len(ready) == 4
            and {worker["champion"] for worker in ready}
            == {f"{champion['version']}/{champion['generation']}"}
            and {_answer(self.client) for _ in range(8)} == {champion["version"]}
        )

    def _started(self) -> tuple[Client, Any]:
        self._stack = ExitStack()
        return self._stack.enter_context(service_process(self._environment))

    def _state(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.client.admin_url}/admin/state", timeout=30).json())

    def _pid(self, number: int) -> int:
        found: list[int] = []
        name = f":{httpx.URL(self.client.admin_url).port}"

        def look() -> bool:
            mine = [r for r in self._state()["replicas"] if r["replica"].endswith(name)]
            workers = [w for replica in mine for w in replica["workers"]]
            found[:] = [worker["pid"] for worker in workers if worker["worker"] == number]
            return bool(found)

        wait_until(look)
        return found[0]


def _answer(client: Client) -> int:
    """The version that a new connection is answered by."""
    with httpx.Client(base_url=client.scoring_url, timeout=20) as http:
        reply = http.post("/score", json={"user_id": "user-1", "item_ids": ["item-1"]})
    return int(reply.json()["model_version"]) if reply.status_code == 200 else 0


@pytest.mark.parametrize("seed", range(KILLS // 10))
def test_kills_at_random_points_leave_one_truth(
    seed: int, tmp_path: Path, redis_server: RedisServer, world: World
) -> None:
    """Whatever is killed, and whenever, both replicas end up serving what the store desires."""
    redis = redis_server.client()
    redis.flushall()
    publish(world, redis, "g1")
    for version in range(1, VERSIONS + 1):
        write_bundle(make_world(version), tmp_path / "repository" / str(version))
    with ExitStack() as stack:
        replicas = [
            _started(_environment(tmp_path, name, redis_server.url), stack) for name in ("a", "b")
        ]
        wait_until(lambda: all(one.serves_what_is_desired() for one in replicas), SETTLED_S)
        amid = _kill_ten_times(replicas, random.Random(seed))  # noqa: S311 - it guards nothing
    # Kills that came too late prove nothing.
    assert amid > 5


def _started(environment: Mapping[str, str], stack: ExitStack) -> Killed:
    replica = Killed(environment)
    stack.callback(replica.stop)
    return replica


def _environment(folder: Path, name: str, redis_url: str) -> Mapping[str, str]:
    return {
        "CHOIRREC_REPOSITORY": str(folder / "repository"),
        "CHOIRREC_STORE": str(folder / name),
        "CHOIRREC_REDIS_URL": redis_url,
        "CHOIRREC_STATE": redis_url,
        "CHOIRREC_MODEL_VERSION": "1",
        "CHOIRREC_WORKERS": "2",
        "CHOIRREC_FETCH_BUDGET_MS": "1000",
    }


def _kill_ten_times(replicas: Sequence[Killed], chance: random.Random) -> int:
    """Kill parts of either replica; returns how many kills came before the order's answer."""
    victims = ["0", "1", "supervisor"] * 3 + [chance.choice(["0", "1", "supervisor"])]
    chance.shuffle(victims)
    amid = 0
    with ThreadPoolExecutor(1) as pool:
        for victim in victims:
            # How long a swap takes follows what else the machine does: measure it each time.
            after_s = chance.uniform(0, _undisturbed_s(replicas[0]))
            asked, killed = chance.choice(replicas), chance.choice(replicas)
            amid += _kill_amid_a_promotion(asked, killed, victim, after_s, pool)
            for replica in replicas:
                # Whoever asked is gone, so nobody ends the preparation before its time.
                replica.order("promote/stop")
                wait_until(replica.serves_what_is_desired, SETTLED_S)
    return amid


def _next(replica: Killed) -> int:
    """A version that no worker holds, since it is neither champion nor previous."""
    return int(replica.desired()["champion"]["version"]) % VERSIONS + 1


def _undisturbed_s(replica: Killed) -> float:
    """Make another version champion with nobody killed; returns how long that took."""
    target = _next(replica)
    begun = time.monotonic()
    assert replica.order("promote", version=target, generation="g1") == 200
    return time.monotonic() - begun


def _kill_amid_a_promotion(
    asked: Killed, killed: Killed, victim: str, after_s: float, pool: ThreadPoolExecutor
) -> bool:
    target = _next(asked)
    promotion = pool.submit(asked.order, "promote", version=target, generation="g1")
    threading.Event().wait(after_s)
    amid = not promotion.done()
    killed.kill(victim)
    status = promotion.result()
    assert status in {200, 409, GONE}, f"{victim} killed after {after_s:.2f} s: {status}"
    if status == 200:
        assert asked.desired()["champion"]["version"] == target
    return amid
