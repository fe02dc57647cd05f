"""A local service: a real process that is ready, answers, and is gone when the block ends."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.local_service import ADMIN_PORT, PORT, LocalService, ServiceFailed, local_service
from tests.fixtures.bundles import AS_OF_S, QUIET_USER, make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer, running_redis

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> dict[str, str]:
    """Settings of a service over a tiny bundle and its records."""
    folder = tmp_path_factory.mktemp("local")
    world = make_world()
    write_bundle(world, folder / "repository" / "1")
    publish(world, redis_server.client(), "g1")
    return {
        "REPOSITORY": str(folder / "repository"),
        "STORE": str(folder / "store"),
        "REDIS_URL": redis_server.url,
        "DRAIN_S": "0",
        "FETCH_BUDGET_MS": "1000",
    }


@pytest.fixture(scope="module")
def service(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalService]:
    """A running service."""
    log = tmp_path_factory.mktemp("log") / "service.log"
    with local_service(settings, log) as running:
        yield running


def test_it_is_ready_and_answers(service: LocalService) -> None:
    """Inside the block the service is ready and scores a known user in full."""
    assert service.ready()
    call = {"user_id": QUIET_USER, "item_ids": ["item-1", "item-2"], "request_time": AS_OF_S}
    answer = service.score(call)
    assert answer["item_ids"] == ["item-1", "item-2"]
    assert (answer["user"]["status"], answer["degraded"]) == ("known", [])


def test_a_refused_request_is_an_error_with_the_reason(service: LocalService) -> None:
    """What is not 200 is raised with the status and the service's own words."""
    with pytest.raises(ServiceFailed, match=r"answered 4\d\d: .*item_ids"):
        service.score({"user_id": "u", "item_ids": []})


def test_a_second_one_takes_other_ports(
    service: LocalService, settings: dict[str, str], tmp_path: Path
) -> None:
    """Where 8080 is taken any free port serves, and ending one leaves the other alone."""
    store = {"STORE": str(tmp_path / "store")}
    with local_service(settings | store, tmp_path / "service.log") as second:
        assert second.port not in (service.port, PORT, ADMIN_PORT)
        assert second.ready()
    assert not second.ready()
    assert service.ready()


def test_one_that_cannot_start_says_why(settings: dict[str, str], tmp_path: Path) -> None:
    """A service that ends before it is ready is an error that quotes its log, at once."""
    began = time.monotonic()
    wrong = settings | {"FETCH_BUDGET_MS": "soon"}
    with (
        pytest.raises(ServiceFailed, match="CHOIRREC_FETCH_BUDGET_MS") as failed,
        local_service(wrong, tmp_path / "service.log"),
    ):
        pass
    assert str(tmp_path / "service.log") in str(failed.value)
    assert time.monotonic() - began < 30


def test_nobody_there_is_not_ready() -> None:
    """A port without a service is not ready, and that is no error."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert not LocalService(port, port).ready()
