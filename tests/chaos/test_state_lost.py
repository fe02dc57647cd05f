"""Promotions over two replicas while their state is killed and comes back empty, or one hangs."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.fixtures.bundles import make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer, running_redis
from tests.fixtures.services import Client, service_process, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VERSIONS = 3
KILLS = 6
SETTLED_S = 30.0
UNTRUE = "there is no desired state"


class Fleet:
    """Two replicas of two workers, whose state stands in a Redis of its own."""

    def __init__(self, folder: Path, records: RedisServer, stack: ExitStack) -> None:
        """Start them.

        Args:
            folder: of the repository, the private stores and the state.
            records: holds the generation.
            stack: ends everything.
        """
        publish(make_world(1), records.client(), "g1")
        for version in range(1, VERSIONS + 1):
            write_bundle(make_world(version), folder / "repository" / str(version))
        (folder / "state").mkdir()
        self.state = stack.enter_context(running_redis(folder / "state"))
        self.clients: list[Client] = []
        self.processes: list[Any] = []
        for name in ("a", "b"):
            environment = {
                "CHOIRREC_REPOSITORY": str(folder / "repository"),
                "CHOIRREC_STORE": str(folder / name),
                "CHOIRREC_REDIS_URL": records.url,
                "CHOIRREC_STATE": self.state.url,
                "CHOIRREC_MODEL_VERSION": "1",
                "CHOIRREC_WORKERS": "2",
                "CHOIRREC_DRAIN_S": "0",
            }
            client, process = stack.enter_context(service_process(environment))
            self.clients.append(client)
            self.processes.append(process)
        wait_until(self.settled, SETTLED_S)

    def asked(self, replica: int = 0) -> dict[str, Any]:
        """GET /admin/state."""
        url = f"{self.clients[replica].admin_url}/admin/state"
        return dict(httpx.get(url, timeout=30).json())

    def settled(self) -> bool:
        """Whether four workers follow a document in which nothing is being prepared."""
        state = self.asked()
        workers = [worker for replica in state["replicas"] for worker in replica["workers"]]
        still = state["roles"] is not None and state["roles"]["candidate"] is None
        return bool(state["converged"]) and len(workers) == 4 and still

    def next_version(self) -> int:
        """One that no worker holds, since it is neither champion nor previous."""
        return int(self.asked()["desired"]["champion"]["version"]) % VERSIONS + 1


@pytest.fixture
def fleet(tmp_path: Path, redis_server: RedisServer) -> Iterator[Fleet]:
    """Both replicas, serving version 1."""
    with ExitStack() as stack:
        yield Fleet(tmp_path, redis_server, stack)


def test_state_emptied_amid_promotions_leaves_no_candidate_and_tells_no_untruth(
    fleet: Fleet,
) -> None:
    """Whenever the state is lost, the order is carried out, or refused as the state's fault."""
    with ThreadPoolExecutor(1) as pool:
        for number in range(KILLS):
            begun_s = time.monotonic()
            assert fleet.clients[0].promote(fleet.next_version()).status_code == 200
            undisturbed_s = time.monotonic() - begun_s
            wait_until(fleet.settled, SETTLED_S)
            promotion = pool.submit(fleet.clients[0].promote, fleet.next_version())
            Event().wait(undisturbed_s * (number + 0.5) / KILLS)
            fleet.state.kill()
            fleet.state.start()
            reply = promotion.result()
            assert reply.status_code in {200, 503}, reply.text
            assert UNTRUE not in reply.text
            wait_until(fleet.settled, SETTLED_S)


def test_replica_that_hangs_is_named_by_a_promotion_and_follows_later(fleet: Fleet) -> None:
    """An operator is never told that all is done while a replica is out of sight."""
    process = fleet.processes[1]
    process.send_signal(signal.SIGSTOP)
    try:
        reply = fleet.clients[0].promote(2)
        assert reply.status_code == 200, reply.text
        told = reply.json()
        assert len(told["verdicts"]) == 2
        (warning,) = told["warnings"]
        assert "has not reported for" in warning
        assert f":{httpx.URL(fleet.clients[1].admin_url).port} " in warning
        assert fleet.asked()["warnings"]
    finally:
        process.send_signal(signal.SIGCONT)
    wait_until(fleet.settled, SETTLED_S)
    assert fleet.asked()["warnings"] == []
