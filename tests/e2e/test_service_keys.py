"""API keys on both ports."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.fixtures.bundles import World, publish
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import LiveService, body, live_service, settings_for


@pytest.fixture(scope="module")
def locked(home: Path, redis_server: RedisServer, world: World) -> Iterator[LiveService]:
    """A service with a key on each port."""
    publish(world, redis_server.client(), "g1")
    keys = {"api_key": SecretStr("score-key"), "admin_key": SecretStr("admin-key")}
    with live_service(settings_for(home, redis_server.url, **keys)) as service:
        yield service


def test_scoring_asks_for_its_key(locked: LiveService) -> None:
    """Without the key nobody scores, and the problem says how to send it."""
    for headers in ({}, {"X-API-Key": "other"}, {"X-API-Key": "admin-key"}):
        reply = locked.post(body(), **headers)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthorised")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert locked.post(body(), **{"X-API-Key": "score-key"}).status_code == 200
    assert locked.post(body(), Authorization="Bearer score-key").status_code == 200


def test_models_ask_for_the_key_and_probes_do_not(locked: LiveService) -> None:
    """Kubernetes and Prometheus need no secret; whoever asks what serves does."""
    assert locked.http.get("/v1/models").status_code == 401
    assert locked.http.get("/v1/models", headers={"X-API-Key": "score-key"}).status_code == 200
    for path in ("/health/live", "/health/ready"):
        assert locked.http.get(path).status_code == 200
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert httpx.get(f"{locked.admin_url}{path}").status_code == 200


def test_admin_asks_for_its_own_key(locked: LiveService) -> None:
    """A scoring key changes nothing."""
    url = f"{locked.admin_url}/admin/promote"
    order = {"version": 1, "who": "a test", "why": "to see"}
    for headers in ({}, {"X-API-Key": "score-key"}):
        assert httpx.post(url, json=order, headers=headers).status_code == 401
    reply = httpx.post(url, json=order, headers={"X-API-Key": "admin-key"})
    assert (reply.status_code, reply.json()["result"]) == (200, "already")
