"""Bundles exchanged in the repository under a number that serves: it goes on meaning one bundle."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.evaluation import EVALUATION_FILE
from tests.evaluations import EVALUATION
from tests.fixtures.bundles import make_world, publish, reseal, write_bundle
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import Client, service_process, wait_until

ORDER = {"who": "a test", "why": "to see"}


@pytest.fixture
def service(tmp_path: Path, redis_server: RedisServer) -> Iterator[Client]:
    """Two workers on their first start, with versions 1 and 2 in the repository."""
    redis = redis_server.client()
    redis.flushall()
    for version in (1, 2):
        write_bundle(make_world(version), tmp_path / "repository" / str(version))
    publish(make_world(1), redis, "g1")
    environment = {
        "CHOIRREC_REPOSITORY": str(tmp_path / "repository"),
        "CHOIRREC_STORE": str(tmp_path / "store"),
        "CHOIRREC_REDIS_URL": redis_server.url,
        "CHOIRREC_WORKERS": "2",
        "CHOIRREC_MODEL_VERSION": "1",
    }
    with service_process(environment) as (client, _):
        yield client


def _exchange(folder: Path, version: int) -> None:
    """Another bundle by the same number, with figures that no guard lets pass."""
    shutil.rmtree(folder)
    world = replace(make_world(77), version=version)
    write_bundle(world, folder)
    bad = {name: replace(one, gauc=0.4) for name, one in EVALUATION.segments.items()}
    (folder / EVALUATION_FILE).write_text(replace(EVALUATION, segments=bad).to_json())
    reseal(folder, world)


def _desired(service: Client) -> dict[str, Any]:
    state = httpx.get(f"{service.admin_url}/admin/state", timeout=20).json()
    return dict(state["desired"] or {})


def _pinned(service: Client) -> dict[str, str]:
    return dict(_desired(service).get("bundles", {}))


def _digests(service: Client) -> set[str]:
    """What the workers hold as version 1; empty while one of them has not settled."""
    revision = _desired(service)["revision"]
    workers = service.workers()
    if len(workers) < 2 or any(worker["revision"] < revision for worker in workers):
        return set()
    held = [target for worker in workers for target in worker["targets"] if target["version"] == 1]
    return {str(target["bundle_digest"]) for target in held}


def test_first_champion_stays_one_bundle_through_a_rollback(
    service: Client, tmp_path: Path
) -> None:
    """A worker that begins anew goes back to what the first champion was, like all the others."""
    wait_until(lambda: "1" in _pinned(service))
    first = _pinned(service)["1"]
    assert service.promote(2).json()["result"] == "done"
    _exchange(tmp_path / "repository" / "1", 1)
    killed = service.workers()[0]["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in {worker["pid"] for worker in service.workers()})
    wait_until(lambda: bool(_digests(service)))
    reply = httpx.post(f"{service.admin_url}/admin/rollback", json=ORDER, timeout=60)
    assert reply.json()["result"] == "done"
    assert {verdict["bundle_digest"] for verdict in reply.json()["verdicts"]} == {first}


def test_version_that_is_held_is_judged_by_what_is_held(service: Client, tmp_path: Path) -> None:
    """Figures of a bundle that nobody loads do not stop a promotion of the one that is held."""
    for version in (2, 1):
        assert service.promote(version).json()["result"] == "done"
    _exchange(tmp_path / "repository" / "2", 2)
    reply = service.promote(2)
    assert reply.status_code == 200, reply.text
    assert reply.json()["guard"]["reasons"] == []
    assert {v["bundle_digest"] for v in reply.json()["verdicts"]} == {_pinned(service)["2"]}
