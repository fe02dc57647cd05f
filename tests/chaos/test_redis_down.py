"""Redis killed, hung, absent from the start, and back again: answers degrade, none fails."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.bundles import AS_OF_S, ITEMS, World, make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer, running_redis
from tests.fixtures.services import LiveService, body, live_service, settings_for, wait_until

CALLERS = 8
CALLS = 40
REASONS = {"redis_timeout", "redis_unavailable"}


@pytest.fixture
def fragile(tmp_path: Path, world: World) -> Iterator[tuple[LiveService, RedisServer]]:
    """A service with a short budget, and a Redis of its own."""
    write_bundle(world, tmp_path / "repository" / "1")
    with running_redis(tmp_path) as server:
        publish(world, server.client(), "g1")
        settings = settings_for(tmp_path, server.url, fetch_budget_ms=50.0)
        with live_service(settings) as service:
            yield service, server


class _BreakIn:
    """Does something once, as soon as so many calls have been answered."""

    def __init__(self, after: int, act: Callable[[], None]) -> None:
        self._left = after
        self._act = act
        self._lock = threading.Lock()
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether it has been done."""
        return self._done.is_set()

    def count(self) -> None:
        """One more call has been answered; the caller whose call it was does what is due."""
        with self._lock:
            self._left -= 1
            due = self._left == 0
        if due:
            self._act()
            self._done.set()


def _storm(service: LiveService) -> list[dict[str, Any]]:
    """Concurrent callers; every call must be answered."""
    return [answer for _, answer in _broken_storm(service, _BreakIn(0, lambda: None))]


def _broken_storm(service: LiveService, break_in: _BreakIn) -> list[tuple[bool, dict[str, Any]]]:
    """As ``_storm``; each answer with whether its call began after the break-in was done."""

    def calls(caller: int) -> list[tuple[bool, dict[str, Any]]]:
        answers = []
        with httpx.Client(base_url=service.scoring_url, timeout=20) as client:
            for call in range(CALLS):
                late = break_in.done
                reply = client.post("/score", content=body(f"user-{(caller + call) % 24}"))
                assert reply.status_code == 200, reply.text
                answers.append((late, reply.json()))
                break_in.count()
        return answers

    with ThreadPoolExecutor(CALLERS) as pool:
        return [answer for answers in pool.map(calls, range(CALLERS)) for answer in answers]


def _is_full(service: LiveService) -> bool:
    return not service.score("user-1", ["item-1"])["degraded"]


def _check_degraded(answers: list[dict[str, Any]]) -> None:
    assert len(answers) == CALLERS * CALLS
    _check_flags(answers)


def _check_flags(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        assert set(answer["degraded"]) & REASONS
        assert answer["user"]["status"] == "unavailable"
        assert answer["user"]["activity_level"] == "unknown"


def test_killed_redis_degrades_every_answer_and_fails_none(
    fragile: tuple[LiveService, RedisServer],
) -> None:
    """SIGKILL under requests: 200s that say so; after a restart full service comes back."""
    service, server = fragile
    wait_until(lambda: _is_full(service))
    server.kill()
    _check_degraded(_storm(service))
    assert service.metric("choirrec_redis_breaker_open") == 1
    assert service.http.get("/health/ready").status_code == 200
    server.start()
    publish(make_world(1), server.client(), "g1")
    wait_until(lambda: _is_full(service))
    assert service.metric("choirrec_redis_breaker_open") == 0


def test_hung_redis_degrades_every_answer_and_fails_none(
    fragile: tuple[LiveService, RedisServer],
) -> None:
    """SIGSTOP under requests: the breaker spares nearly all of them the wait."""
    service, server = fragile
    wait_until(lambda: _is_full(service))
    server.hang()
    try:
        _check_degraded(_storm(service))
        trips = service.metric("choirrec_redis_round_trips_total")
        _check_degraded(_storm(service))
        asked = service.metric("choirrec_redis_round_trips_total") - trips
        assert asked < CALLERS * CALLS / 4
        assert service.http.get("/health/live").status_code == 200
    finally:
        server.resume()
    wait_until(lambda: _is_full(service))


def _check_broken_storm(service: LiveService, act: Callable[[], None]) -> None:
    """Redis goes while callers are being answered: none fails, and all that begin later say so."""
    answers = _broken_storm(service, _BreakIn(CALLERS * CALLS // 4, act))
    assert len(answers) == CALLERS * CALLS
    early = [answer for late, answer in answers if not late]
    afterwards = [answer for late, answer in answers if late]
    assert any(not answer["degraded"] for answer in early)
    assert afterwards
    _check_flags(afterwards)
    _check_flags([answer for answer in early if answer["user"]["status"] == "unavailable"])


def test_redis_killed_amid_requests_fails_none(fragile: tuple[LiveService, RedisServer]) -> None:
    """SIGKILL while calls are under way: each is answered, and full service comes back."""
    service, server = fragile
    wait_until(lambda: _is_full(service))
    _check_broken_storm(service, server.kill)
    server.start()
    publish(make_world(1), server.client(), "g1")
    wait_until(lambda: _is_full(service))


def test_redis_hung_amid_requests_fails_none(fragile: tuple[LiveService, RedisServer]) -> None:
    """SIGSTOP while calls are under way: each is answered, and full service comes back."""
    service, server = fragile
    wait_until(lambda: _is_full(service))
    try:
        _check_broken_storm(service, server.hang)
    finally:
        server.resume()
    wait_until(lambda: _is_full(service))


def test_alpha_by_level_leaves_unreadable_users_out(
    fragile: tuple[LiveService, RedisServer],
) -> None:
    """Users of unknown activity do not blur the figure of any level."""
    service, server = fragile
    server.kill()
    _storm(service)
    counts = [
        service.metric(f'choirrec_alpha_fusion_count{{activity_level="{level}"}}')
        for level in range(1, 6)
    ]
    assert counts == [0, 0, 0, 0, 0]


def test_known_groups_answer_while_redis_is_away(
    fragile: tuple[LiveService, RedisServer], world: World
) -> None:
    """The generation's own global prior stays at hand: no older snapshot is needed."""
    service, server = fragile
    server.kill()
    time_s = AS_OF_S + 9000
    answer = service.score("user-1", list(ITEMS[:3]), request_time=time_s)
    _, shared, _ = world.expected(None, world.groups[()], time_s, 0, 0, ITEMS[:3])
    assert answer["group_logits"] == pytest.approx(shared.tolist(), abs=1e-5)
    assert answer["generation"] == "g1"
    assert "prior_snapshot" not in answer["degraded"]


def test_service_starts_without_redis_and_finds_it_later(tmp_path: Path, world: World) -> None:
    """The bundle's snapshot answers meanwhile; the generation is taken up without a restart."""
    write_bundle(world, tmp_path / "repository" / "1")
    server = RedisServer(tmp_path)
    with live_service(settings_for(tmp_path, server.url, fetch_budget_ms=50.0)) as service:
        answer = service.score("user-1", ["item-1"])
        assert answer["degraded"] == ["no_generation", "prior_snapshot"]
        assert answer["generation"] == "at-export"
        assert answer["user"]["status"] == "unavailable"
        assert service.models()["models"][0]["generation_available"] is False
        server.start()
        try:
            publish(world, server.client(), "g1")
            wait_until(lambda: _is_full(service))
            assert service.score("user-1", ["item-1"])["generation"] == "g1"
        finally:
            server.stop()


def test_service_starts_before_anything_was_exported(
    tmp_path: Path, world: World, redis_server: RedisServer
) -> None:
    """Live but not ready, with the reason, until a bundle appears."""
    publish(world, redis_server.client(), "g1")
    with live_service(settings_for(tmp_path, redis_server.url), ready=False) as service:
        wait_until(lambda: _reachable(service))
        assert service.http.get("/health/live").status_code == 200
        for path in ("/health/ready", "/health/startup"):
            assert service.http.get(path).status_code == 503
        wait_until(lambda: [t["state"] for t in service.models()["targets"]] == ["failed"])
        reply = service.post(body())
        assert (reply.status_code, reply.json()["code"]) == (503, "not_ready")
        assert "holds no complete model version" in reply.json()["detail"]
        assert reply.headers["retry-after"] == "1"
        write_bundle(world, tmp_path / "repository" / "1")
        service.await_ready()
        assert service.score("user-1", ["item-1"])["degraded"] == []


def test_named_generation_that_does_not_fit_is_never_served(
    tmp_path: Path, world: World, redis_server: RedisServer
) -> None:
    """A wrong setting is no outage: the bundle's snapshot answers, flagged, and nothing foreign."""
    write_bundle(world, tmp_path / "repository" / "1")
    other = make_world(1, "another encoder")
    publish(other, redis_server.client(), "foreign")
    settings = settings_for(tmp_path, redis_server.url, generation="foreign")
    with live_service(settings) as service:
        answer = service.score("user-1", ["item-1"])
        assert answer["degraded"] == ["no_generation", "prior_snapshot"]
        assert service.models()["models"][0]["generation_available"] is False


def _reachable(service: LiveService) -> bool:
    try:
        return service.http.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False
