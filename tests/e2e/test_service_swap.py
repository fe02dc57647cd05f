"""Swaps under load: nothing fails, nothing is mixed, and a refused load touches nothing."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.fixtures.bundles import AS_OF_S, ITEMS, World, make_world, publish, shifted, write_bundle
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import LiveService, body, live_service, settings_for, wait_until

SWAPS = 12
TIME_S = AS_OF_S + 4000
REQUEST = body("user-5", list(ITEMS[:3]), request_time=TIME_S, context={"hour": 1, "weekday": 1})


@pytest.fixture
def pair(tmp_path: Path, redis_server: RedisServer) -> Iterator[tuple[LiveService, dict[Any, Any]]]:
    """A service with two versions and two generations, and the scores each pair must give."""
    redis = redis_server.client()
    redis.flushall()
    expected = {}
    for version in (1, 2):
        world = make_world(version)
        write_bundle(world, tmp_path / "repository" / str(version))
        for name, records in (("a", world), ("b", shifted(world))):
            publish(records, redis, name)
            expected[version, name] = _scores(records)
    with live_service(settings_for(tmp_path, redis_server.url, generation="a")) as service:
        yield service, expected


def _scores(world: World) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    user = world.users["user-5"]
    own = world.expected(user, world.groups[user.prefix], TIME_S, 1, 1, ITEMS[:3])
    fused = (1 - own[2]) * own[0] + own[2] * own[1]
    scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = 1 / (1 + np.exp(-fused))
    return scores


def test_swaps_under_load_fail_nothing_and_mix_nothing(
    pair: tuple[LiveService, dict[Any, Any]],
) -> None:
    """Every answer of a thousand is wholly of one version and one generation, and none fails."""
    service, expected = pair
    done = threading.Event()

    def ask() -> list[dict[str, Any]]:
        answers = []
        with httpx.Client(base_url=service.scoring_url, timeout=20) as client:
            while not done.is_set():
                reply = client.post("/score", content=REQUEST)
                assert reply.status_code == 200, reply.text
                answers.append(reply.json())
        return answers

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(ask) for _ in range(3)]
        try:
            for swap in range(SWAPS):
                version, generation = 1 + swap % 2, "ab"[swap // 2 % 2]
                assert service.promote(version, generation).status_code == 200
        finally:
            done.set()
        answers = [answer for future in running for answer in future.result()]
    assert len(answers) > 100
    seen = {(answer["model_version"], answer["generation"]) for answer in answers}
    assert len(seen) > 1
    for answer in answers:
        wanted = expected[answer["model_version"], answer["generation"]]
        np.testing.assert_allclose(answer["scores"], wanted, atol=1e-5)
        assert answer["degraded"] == []
        assert answer["user"]["status"] == "known"


def test_load_gives_a_verdict_and_is_told_by_every_route(
    pair: tuple[LiveService, dict[Any, Any]],
) -> None:
    """After the verdict the next answer is the new version's, and the figures name it."""
    service, _ = pair
    outcome = service.promote(1, "b").json()
    assert (outcome["result"], outcome["after"]["champion"]) == ("done", "1/b")
    (verdict,) = outcome["verdicts"]
    answer = service.http.post("/score", content=REQUEST).json()
    assert (answer["model_version"], answer["generation"]) == (1, "b")
    assert answer["bundle_digest"] == verdict["bundle_digest"]
    infos = [line for line in service.metrics().splitlines() if "choirrec_model_info{" in line]
    (champion,) = [line for line in infos if 'role="champion"' in line]
    assert 'generation="b"' in champion


def test_old_models_are_let_go(pair: tuple[LiveService, dict[Any, Any]], tmp_path: Path) -> None:
    """After a swap the old model drains, and its private copy goes with time."""
    service, _ = pair
    first = service.service.lifecycle.roles.champion
    assert first is not None
    for version in (1, 2, 1):
        assert service.promote(version).status_code == 200
    wait_until(first.drained.is_set)
    wait_until(lambda: sum(path.is_dir() for path in (tmp_path / "store").iterdir()) <= 2)


@pytest.mark.parametrize(
    ("version", "generation", "code", "reason"),
    [
        (9, None, "load_refused", "model version 9 is not in"),
        (3, None, "not_converged", "SHA-256 differs"),
        (4, None, "load_refused", "no generation fits the bundle"),
        (4, "a", "load_refused", "has feature contract"),
        (1, "absent", "load_refused", "is not in the store"),
    ],
    ids=["absent version", "broken bundle", "no generation", "wrong contract", "absent generation"],
)
def test_refused_load_leaves_the_champion_alone(
    pair: tuple[LiveService, dict[Any, Any]],
    tmp_path: Path,
    version: int,
    generation: str | None,
    code: str,
    reason: str,
) -> None:
    """The exact reason is told, and what served before serves as before."""
    service, expected = pair
    for broken in (3, 4):
        contract = "encoder" if broken == 3 else "another encoder"
        write_bundle(make_world(broken, contract), tmp_path / "repository" / str(broken))
    (tmp_path / "repository" / "3" / "model_card.md").write_text("changed")
    before = service.service.lifecycle.roles.champion
    reply = service.promote(version, generation)
    assert (reply.is_success, reply.json()["code"]) == (False, code)
    assert reason in reply.json()["detail"]
    assert service.service.lifecycle.roles.champion is before
    answer = service.http.post("/score", content=REQUEST).json()
    np.testing.assert_allclose(answer["scores"], expected[2, "a"], atol=1e-5)
    assert service.http.get("/health/ready").status_code == 200


def test_records_move_where_the_repository_is_gone(
    pair: tuple[LiveService, dict[Any, Any]], tmp_path: Path
) -> None:
    """A bundle that serves needs its repository no more: this morning's records move in."""
    service, expected = pair
    (tmp_path / "repository").rename(tmp_path / "lost")
    assert service.promote(2, "a").json()["result"] == "already"
    outcome = service.promote(2).json()
    assert (outcome["result"], outcome["after"]["champion"]) == ("done", "2/b")
    answer = service.http.post("/score", content=REQUEST).json()
    np.testing.assert_allclose(answer["scores"], expected[2, "b"], atol=1e-5)


def test_second_order_at_once_is_told_to_wait(pair: tuple[LiveService, dict[Any, Any]]) -> None:
    """Two versions are never prepared at once; at least one order is carried out."""
    service, _ = pair
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda n: service.promote(1 + n % 2), range(4)))
    results = {reply.json().get("code") or reply.json()["result"] for reply in replies}
    assert results <= {"done", "already", "change_refused"}
    assert results & {"done", "already"}


def test_load_order_is_checked(pair: tuple[LiveService, dict[Any, Any]]) -> None:
    """A typing mistake in an order is a problem, not a load of the newest."""
    service, _ = pair
    orders: list[dict[str, Any]]
    orders = [{"version": "2"}, {"version": 0}, {"versoin": 2}, {"version": True}]
    for order in orders:
        asked = {"who": "a test", "why": "to see", **order}
        reply = httpx.post(f"{service.admin_url}/admin/promote", json=asked)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request"), order
