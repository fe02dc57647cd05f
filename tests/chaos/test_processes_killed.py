"""Workers and supervisors killed amid promotions: afterwards all serve the desired pair."""

import os
import random
import signal
import threading
from collections.abc import Mapping
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
LATEST_S = 2.5
"""After the order of a promotion, which takes about two seconds here."""
SETTLED_S = 60.0
GONE = 99


class Killed:
    """A replica of two workers that is killed in parts and in whole."""

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
        """Whether every worker has settled, and every answer is the champion's."""
        state = self._state()
        champion = state["desired"]["champion"]
        workers = [worker for replica in state["replicas"] for worker in replica["workers"]]
        ready = [worker for worker in workers if worker["ready"]]
        return (
            bool(state["converged"])
            and len(ready) == 2
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

        def look() -> bool:
            workers = [w for w in self.client.workers() if w["worker"] == number]
            found[:] = [worker["pid"] for worker in workers]
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
    """Whatever is killed, and whenever, the replica ends up serving what the store desires."""
    redis = redis_server.client()
    redis.flushall()
    publish(world, redis, "g1")
    for version in (1, 2):
        write_bundle(make_world(version), tmp_path / "repository" / str(version))
    replica = Killed(
        {
            "CHOIRREC_REPOSITORY": str(tmp_path / "repository"),
            "CHOIRREC_STORE": str(tmp_path / "store"),
            "CHOIRREC_REDIS_URL": redis_server.url,
            "CHOIRREC_STATE": redis_server.url,
            "CHOIRREC_WORKERS": "2",
            "CHOIRREC_FETCH_BUDGET_MS": "1000",
        }
    )
    chance = random.Random(seed)  # noqa: S311 - it guards nothing
    victims = ["0", "1", "supervisor"] * 3 + [chance.choice(["0", "1", "supervisor"])]
    chance.shuffle(victims)
    try:
        with ThreadPoolExecutor(1) as pool:
            for victim in victims:
                _kill_amid_a_promotion(replica, victim, chance.uniform(0, LATEST_S), pool)
    finally:
        replica.stop()


def _kill_amid_a_promotion(
    replica: Killed, victim: str, after_s: float, pool: ThreadPoolExecutor
) -> None:
    target = 3 - replica.desired()["champion"]["version"]
    promotion = pool.submit(replica.order, "promote", version=target, generation="g1")
    threading.Event().wait(after_s)
    replica.kill(victim)
    status = promotion.result()
    assert status in {200, 409, GONE}, f"{victim} killed after {after_s:.2f} s"
    if status == 200:
        assert replica.desired()["champion"]["version"] == target
    # Whoever asked is gone, so nobody ends the preparation before its time.
    replica.order("promote/stop")
    wait_until(replica.serves_what_is_desired, SETTLED_S)
