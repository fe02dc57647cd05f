"""The admin API: orders with a key, a reason and typed fields; refusals as problem documents."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.desired import Target
from service.api.admin import create_admin_app
from service.control import agreement
from service.control.plane import ControlPlane, open_plane
from service.control.roll import Roll
from service.control.watch import Identity
from service.features.redis_store import RedisStore
from service.metrics import Metrics
from service.settings import Settings
from tests.control import NoGuards, replica_state, worker_state
from tests.fixtures.bundles import World, publish
from tests.fixtures.fleets import PlannedFleet
from tests.fixtures.redis import RedisServer

ORDER: dict[str, Any] = {"who": "ann", "why": "a better model"}
TO_G2 = ORDER | {"version": 1, "generation": "g2"}
Scenario = Callable[[httpx.AsyncClient, PlannedFleet], Awaitable[None]]


class _Workers:
    """A replica without processes."""

    started = True
    ready = True

    def obstacle(self) -> str:
        """As ``Replica.obstacle``."""
        return ""

    async def metrics(self) -> bytes:
        """As ``Replica.metrics``."""
        return b"choirrec_workers 2\n"


def _run(settings: Settings, scenario: Scenario, secret: bytes | None = None) -> None:
    async def run() -> None:
        fleet = PlannedFleet()
        features = RedisStore(settings.redis_url, Metrics().round_trips)
        plane = open_plane(settings, fleet, features, NoGuards(), Identity("r1", "host"))
        watching = asyncio.create_task(plane.watch.run())
        transport = httpx.ASGITransport(create_admin_app(plane, _Workers(), secret))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
                await _settled(plane)
                await scenario(client, fleet)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await plane.store.close()
            await features.close()

    asyncio.run(run())


async def _settled(plane: ControlPlane) -> None:
    async with asyncio.timeout(20):
        while not (await plane.status())["converged"]:
            await asyncio.sleep(0.01)


@pytest.fixture
def settings(
    home: Path,
    tmp_path: Path,
    redis_server: RedisServer,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """A repository with version 1, generations g1 and g2, and an empty state."""
    monkeypatch.setattr(agreement, "COMPARE_S", 0.2)
    redis = redis_server.client()
    redis.flushall()
    for name in ("g1", "g2"):
        publish(world, redis, name)
    return Settings(
        repository=str(home / "repository"),
        store=tmp_path / "store",
        redis_url=redis_server.url,
        generation="g1",
    )


def test_order_is_carried_out_and_told(settings: Settings) -> None:
    """Outcome, state and history agree on what was done, by whom and why."""

    async def scenario(admin: httpx.AsyncClient, fleet: PlannedFleet) -> None:
        outcome = (await admin.post("/admin/promote", json=TO_G2)).json()
        assert (outcome["result"], outcome["after"]["champion"]) == ("done", "1/g2")
        assert [verdict["state"] for verdict in outcome["verdicts"]] == ["ready", "ready"]
        state = (await admin.get("/admin/state")).json()
        assert state["converged"]
        assert state["roles"] == outcome["after"]
        history = (await admin.get("/admin/history?limit=2")).json()
        assert [entry["change"]["action"] for entry in history] == ["activate", "promote"]
        assert history[0]["change"]["why"] == "a better model"
        back = (await admin.post("/admin/rollback", json=ORDER)).json()
        assert back["after"]["champion"] == "1/g1"

    _run(settings, scenario)


def test_order_for_a_revision_that_is_over_is_refused(settings: Settings) -> None:
    """A program that has looked changes what it has seen, or nothing."""

    async def scenario(admin: httpx.AsyncClient, fleet: PlannedFleet) -> None:
        await admin.post("/admin/promote", json=TO_G2)
        reply = await admin.post("/admin/rollback", json=ORDER | {"revision": 2})
        assert (reply.status_code, reply.json()["code"]) == (409, "change_refused")
        reply = await admin.post("/admin/rollback", json=ORDER | {"revision": 3})
        assert reply.json()["after"]["champion"] == "1/g1"

    _run(settings, scenario)


def test_every_order_has_its_route(settings: Settings) -> None:
    """A canary and a shadow begin, change and end over the API."""

    async def scenario(admin: httpx.AsyncClient, fleet: PlannedFleet) -> None:
        for path, fields, role, told in (
            ("/admin/canary", {"share": 0.05}, "canary", "1/g2 for 5 %"),
            (
                "/admin/canary",
                {"share": 1, "testers": True},
                "canary",
                "1/g2 for 100 % and testers",
            ),
            ("/admin/shadow", {"sample": 0.1}, "shadow", "1/g2 on 10 %"),
        ):
            reply = await admin.post(path, json=TO_G2 | fields)
            assert reply.json()["after"][role] == told
        for path, role in (("/admin/canary/stop", "canary"), ("/admin/shadow/stop", "shadow")):
            reply = await admin.post(path, json=ORDER)
            assert (reply.status_code, reply.json()["after"][role]) == (200, None)
        reply = await admin.post("/admin/promote/stop", json=ORDER)
        assert (reply.status_code, reply.json()["code"]) == (409, "change_refused")

    _run(settings, scenario)


def test_failed_worker_is_a_problem_with_every_verdict(settings: Settings) -> None:
    """Programs read which worker said what; the version that served still serves."""

    async def scenario(admin: httpx.AsyncClient, fleet: PlannedFleet) -> None:
        fleet.failures[1, Target(1, "g2")] = "golden request 0: expected another logit"
        reply = await admin.post("/admin/promote", json=TO_G2)
        problem = reply.json()
        assert (reply.status_code, problem["code"]) == (409, "not_converged")
        assert reply.headers["content-type"] == "application/problem+json"
        assert "golden request 0" in problem["detail"] == problem["error"]
        assert [verdict["state"] for verdict in problem["verdicts"]] == ["ready", "failed"]
        assert (await admin.get("/admin/state")).json()["roles"]["champion"] == "1/g1"

    _run(settings, scenario)


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("/admin/promote", {"version": 1}),
        ("/admin/promote", ORDER),
        ("/admin/promote", TO_G2 | {"version": "1"}),
        ("/admin/promote", TO_G2 | {"version": 0}),
        ("/admin/promote", TO_G2 | {"version": True}),
        ("/admin/promote", TO_G2 | {"versoin": 2}),
        ("/admin/promote", TO_G2 | {"why": "  "}),
        ("/admin/promote", TO_G2 | {"why": "x" * 1001}),
        ("/admin/promote", TO_G2 | {"who": "a\x1b[2J"}),
        ("/admin/promote", TO_G2 | {"why": "ok\n99  2026-01-01 boss  promote"}),
        ("/admin/promote", TO_G2 | {"within_s": 0}),
        ("/admin/promote", TO_G2 | {"force": "yes"}),
        ("/admin/canary", TO_G2),
        ("/admin/canary", TO_G2 | {"share": 1.5}),
        ("/admin/shadow", TO_G2 | {"sample": 0}),
        ("/admin/rollback", ORDER | {"version": 1}),
        ("/admin/rollback", ORDER | {"revision": 0}),
        ("/admin/rollback", []),
    ],
)
def test_mistake_in_an_order_is_a_problem_and_no_other_order(
    settings: Settings, path: str, order: object
) -> None:
    """Nothing is guessed; nothing is written."""

    async def scenario(admin: httpx.AsyncClient, fleet: PlannedFleet) -> None:
        reply = await admin.post(path, json=order)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
        assert len((await admin.get("/admin/history")).json()) == 1

    _run(settings, scenario)


def test_huge_body_is_refused_unread(settings: Settings) -> None:
    """An order is short; nobody fills the supervisor's memory, least of all without the key."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000

    async def scenario(admin: httpx.AsyncClient, fleet: PlannedFleet) -> None:
        for key, expected in (("wrong", "unauthorised"), ("secret", "body_too_large")):
            headers = {"x-api-key": key}
            reply = await admin.post("/admin/rollback", content=endless(), headers=headers)
            assert reply.json()["code"] == expected

    _run(settings, scenario, b"secret")


def test_orders_and_reports_want_the_key_and_probes_do_not(settings: Settings) -> None:
    """Without the admin key nobody sees or changes what serves."""

    async def scenario(admin: httpx.AsyncClient, fleet: PlannedFleet) -> None:
        asked = [
            await admin.get("/admin/state"),
            await admin.get("/admin/history"),
            await admin.post("/admin/promote", json=TO_G2),
            await admin.post("/admin/rollback", json=ORDER, headers={"x-api-key": "wrong"}),
        ]
        assert {reply.status_code for reply in asked} == {401}
        keyed = {"x-api-key": "secret"}
        assert (await admin.get("/admin/state", headers=keyed)).status_code == 200
        for path in ("/health/live", "/health/startup", "/health/ready", "/metrics"):
            assert (await admin.get(path)).status_code == 200

    _run(settings, scenario, b"secret")


def test_state_without_its_store_is_what_this_replica_knows(
    settings: Settings, tmp_path: Path
) -> None:
    """With the state store gone, status still tells, trouble first; orders are 503."""
    place = tmp_path / "state"

    async def scenario(admin: httpx.AsyncClient, fleet: PlannedFleet) -> None:
        place.rename(tmp_path / "lost")
        place.write_text("")
        state = (await admin.get("/admin/state")).json()
        assert str(place) in state["trouble"]
        assert state["roles"]["champion"] == "1/g1"
        for reply in (
            await admin.post("/admin/promote", json=TO_G2),
            await admin.get("/admin/history"),
        ):
            assert (reply.status_code, reply.json()["code"]) == (503, "state_unavailable")

    _run(settings.model_copy(update={"state": str(place)}), scenario)


def test_state_that_was_lost_is_told_as_lost(settings: Settings, tmp_path: Path) -> None:
    """An emptied store is not taken for a beginning, in the moment until it is put back."""
    place = tmp_path / "state"

    async def run() -> None:
        features = RedisStore(settings.redis_url, Metrics().round_trips)
        changed = settings.model_copy(update={"state": str(place)})
        plane = open_plane(changed, PlannedFleet(), features, NoGuards(), Identity("r1", "host"))
        await plane.watch.follow_once()
        await plane.watch.follow_once()
        (place / "desired.json").unlink()
        state = await plane.status()
        assert "has lost revision 1" in state["trouble"]
        assert state["roles"]["champion"] == "1/g1"
        await plane.store.close()
        await features.close()

    asyncio.run(run())


def test_first_document_that_cannot_be_written_is_told(settings: Settings) -> None:
    """Where no generation fits, orders say what is missing."""

    async def run() -> None:
        fleet = PlannedFleet()
        lacking = settings.model_copy(update={"generation": "absent"})
        features = RedisStore(settings.redis_url, Metrics().round_trips)
        plane = open_plane(lacking, fleet, features, NoGuards(), Identity("r1", "host"))
        await plane.watch.follow_once()
        transport = httpx.ASGITransport(create_admin_app(plane, _Workers(), None))
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as admin:
            reply = await admin.post("/admin/promote", json=TO_G2)
            assert reply.status_code == 409
            assert "generation absent is not in the store" in reply.json()["detail"]
            assert (await admin.get("/admin/state")).json()["desired"] is None
        await plane.store.close()
        await features.close()

    asyncio.run(run())


def test_replica_that_fell_silent_is_named_beside_every_answer(settings: Settings) -> None:
    """A replica whose supervisor hangs may still answer callers: it drops out of no answer."""

    async def run() -> None:
        features = RedisStore(settings.redis_url, Metrics().round_trips)
        plane = open_plane(settings, PlannedFleet(), features, NoGuards(), Identity("a", "host"))
        plane.watch.roll = Roll(0.3, "a")
        transport = httpx.ASGITransport(create_admin_app(plane, _Workers(), None))
        hung = replica_state("b", workers=(worker_state(0, 1, Target(1, "g1")),))
        await plane.store.report(hung, 0.3)
        watching = asyncio.create_task(plane.watch.run())
        async with asyncio.timeout(20):
            while not plane.warnings():
                await asyncio.sleep(0.05)
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as admin:
            outcome = (await admin.post("/admin/promote", json=TO_G2)).json()
            assert outcome["result"] == "done"
            for answer in (outcome, (await admin.get("/admin/state")).json()):
                (warning,) = answer["warnings"]
                assert warning.startswith("replica b has not reported for")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await plane.store.close()
        await features.close()

    asyncio.run(run())
