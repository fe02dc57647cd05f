"""Reconciling: what is held and what answers become what is desired, and nothing else happens."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from model.desired import Canary
from service.errors import NotReady
from service.lifecycle import residents
from service.lifecycle.admission import Available
from service.lifecycle.lifecycle import Lifecycle
from tests.fixtures.bundles import make_world, publish, write_bundle
from tests.fixtures.lifecycles import (
    WatchedLoader,
    following,
    settled,
    target,
    told,
    until,
    wish,
)
from tests.fixtures.redis import RedisServer

pytestmark = pytest.mark.anyio

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Path:
    """A repository of versions 1 to 3, and 4 of another contract; generations a and b."""
    folder = tmp_path_factory.mktemp("shop")
    redis = redis_server.client()
    redis.flushall()
    for version in (1, 2, 3):
        write_bundle(make_world(version), folder / "repository" / str(version))
    write_bundle(make_world(4, "another encoder"), folder / "repository" / "4")
    for generation in ("a", "b"):
        publish(make_world(1), redis, generation)
    publish(make_world(1), redis, "half", complete=False)
    return folder


@pytest.fixture
def loader(shop: Path, tmp_path: Path) -> WatchedLoader:
    """A loader on the shop's repository with a private store of its own."""
    (tmp_path / "repository").symlink_to(shop / "repository")
    return WatchedLoader(tmp_path)


@pytest.fixture
async def lifecycle(loader: WatchedLoader, redis_server: RedisServer) -> AsyncIterator[Lifecycle]:
    """A lifecycle that follows what it is told, on that loader."""
    async with following(loader, redis_server.url) as lifecycle:
        yield lifecycle


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other without long pauses."""
    monkeypatch.setattr(residents, "RETRY_S", 0.02)
    monkeypatch.setattr("service.lifecycle.lifecycle.RETRY_S", 0.02)
    monkeypatch.setattr(residents, "LONGEST_RETRY_S", 0.04)


async def test_promotion_loads_beside_and_switches_by_one_reference(
    loader: WatchedLoader, lifecycle: Lifecycle
) -> None:
    """A candidate becomes ready and answers nobody; then it answers everybody, loaded once."""
    await settled(lifecycle, wish(1, "1/a"))
    first = lifecycle.current("user")
    await settled(lifecycle, wish(2, "1/a", candidate="2/a"))
    assert told(lifecycle, "2/a").state == "ready"
    assert lifecycle.current("user") is first
    await settled(lifecycle, wish(3, "2/a", previous="1/a"))
    states = [told(lifecycle, name).state for name in ("1/a", "2/a")]
    assert states == ["ready", "active"]
    assert lifecycle.state().champion == "2/a"
    await settled(lifecycle, wish(4, "1/a", previous="2/a"))
    assert lifecycle.current("user") is first
    assert loader.loads == [1, 2]


async def test_rollback_waits_for_no_load(loader: WatchedLoader, lifecycle: Lifecycle) -> None:
    """While a load hangs, what is held answers at once, and the order is done."""
    await settled(lifecycle, wish(1, "1/a"))
    first = lifecycle.current("user")
    await settled(lifecycle, wish(2, "2/a", previous="1/a"))
    loader.gate.clear()
    lifecycle.reconcile(wish(3, "2/a", previous="1/a", candidate="3/a"))
    await until(lambda: loader.loads == [1, 2, 3])
    lifecycle.reconcile(wish(4, "1/a", previous="2/a"))
    assert lifecycle.current("user") is first
    await until(lambda: lifecycle.state().revision == 4)
    assert lifecycle.state().champion == "1/a"
    loader.gate.set()
    await settled(lifecycle, wish(5, "1/a", previous="2/a", candidate="3/a"))
    assert told(lifecycle, "3/a").state == "ready"
    assert loader.most_at_once == 1


async def test_canary_ends_while_a_load_hangs(loader: WatchedLoader, lifecycle: Lifecycle) -> None:
    """A bad canary answers nobody more, whatever else is under way."""
    canary = Canary(target("2/a"), 1.0)
    await settled(lifecycle, wish(1, "1/a", canary=canary))
    assert lifecycle.current("user").version == 2
    loader.gate.clear()
    lifecycle.reconcile(wish(2, "1/a", canary=canary, candidate="3/a"))
    await until(lambda: 3 in loader.loads)
    lifecycle.reconcile(wish(3, "1/a", candidate="3/a"))
    assert lifecycle.current("user").version == 1
    state = lifecycle.state()
    assert (state.roles_revision, state.canary, state.revision) == (3, None, 1)
    loader.gate.set()
    await until(lambda: lifecycle.state().revision == 3)


async def test_every_step_of_a_load_is_seen(lifecycle: Lifecycle) -> None:
    """Whoever watches is called at each step, in order."""
    steps: list[str] = []
    lifecycle.on_change(lambda: steps.extend(t.state for t in lifecycle.state().targets))
    await settled(lifecycle, wish(1, "1/a"))
    seen = told(lifecycle, "1/a")
    assert seen.seconds is not None
    assert seen.seconds > 0
    assert seen.provider == "CPUExecutionProvider"
    expected = ["fetching", "verifying", "loading", "golden", "warming", "ready", "active"]
    assert list(dict.fromkeys(steps)) == expected


async def test_champion_is_loaded_first(loader: WatchedLoader, lifecycle: Lifecycle) -> None:
    """A worker that begins serves as soon as it can, and holds the rest later."""
    canary = Canary(target("2/a"), 0.5)
    everything = wish(1, "3/a", previous="1/a", canary=canary)
    await settled(lifecycle, everything)
    assert loader.loads == [3, 2, 1]


async def test_generations_share_a_bundle(loader: WatchedLoader, lifecycle: Lifecycle) -> None:
    """Moving a generation copies, checks and holds no bundle a second time."""
    await settled(lifecycle, wish(1, "1/a"))
    before = lifecycle.current("user")
    await settled(lifecycle, wish(2, "1/b", previous="1/a"))
    after = lifecycle.current("user")
    assert after.loaded is before.loaded
    assert (before.generation_name, after.generation_name) == ("a", "b")
    assert loader.loads == [1]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ("9/a", "model version 9 is not in"),
        ("4/a", "has feature contract"),
        ("2/half", "generation half is not complete"),
        ("2/absent", "generation absent is not in the store"),
    ],
)
async def test_unfit_candidate_fails_with_the_reason_and_touches_nothing(
    loader: WatchedLoader, lifecycle: Lifecycle, candidate: str, reason: str
) -> None:
    """The verdict is exact and final, and the champion is the very same object."""
    await settled(lifecycle, wish(1, "1/a"))
    champion = lifecycle.current("user")
    await settled(lifecycle, wish(2, "1/a", candidate=candidate))
    seen = told(lifecycle, candidate)
    assert seen.state == "failed"
    assert reason in (seen.reason or "")
    assert lifecycle.current("user") is champion
    attempts = len(loader.loads)
    lifecycle.reconcile(wish(2, "1/a", candidate=candidate))
    await asyncio.sleep(0.05)
    assert len(loader.loads) == attempts
    await settled(lifecycle, wish(3, "1/a"))
    assert [t.version for t in lifecycle.state().targets] == [1]


async def test_failed_target_is_tried_again_with_a_new_revision(
    shop: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    """An operator mends what was wrong and asks again."""
    shutil.copytree(shop / "repository", tmp_path / "repository")
    shutil.move(tmp_path / "repository" / "2", tmp_path / "two")
    async with following(WatchedLoader(tmp_path), redis_server.url) as lifecycle:
        await settled(lifecycle, wish(1, "1/a"))
        await settled(lifecycle, wish(2, "1/a", candidate="2/a"))
        assert told(lifecycle, "2/a").state == "failed"
        shutil.move(tmp_path / "two", tmp_path / "repository" / "2")
        await settled(lifecycle, wish(3, "1/a", candidate="2/a"))
        assert told(lifecycle, "2/a").state == "ready"


async def test_worker_that_begins_anew_serves_the_bundle_that_was_activated(
    shop: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Workers of one version give one answer, although its number was given away twice."""
    shutil.copytree(shop / "repository", tmp_path / "repository")
    state = wish(1, "1/a")
    async with following(WatchedLoader(tmp_path), redis_server.url) as lifecycle:
        await settled(lifecycle, state)
        digest = told(lifecycle, "1/a").bundle_digest
    assert digest is not None
    pinned = replace(state, bundles={1: digest})
    shutil.rmtree(tmp_path / "repository" / "1")
    write_bundle(make_world(1, "another encoder"), tmp_path / "repository" / "1")
    async with following(WatchedLoader(tmp_path), redis_server.url) as lifecycle:
        await settled(lifecycle, pinned)
        assert told(lifecycle, "1/a").bundle_digest == digest
    shutil.rmtree(tmp_path / "store")
    async with following(WatchedLoader(tmp_path), redis_server.url) as lifecycle:
        await settled(lifecycle, pinned)
        assert "another bundle under this number" in (told(lifecycle, "1/a").reason or "")


async def test_champion_that_cannot_be_loaded_leaves_the_former_one(
    shop: Path, tmp_path: Path, redis_server: RedisServer, quick: None
) -> None:
    """What serves goes on serving, and the champion is tried again until it can be loaded."""
    shutil.copytree(shop / "repository", tmp_path / "repository")
    shutil.move(tmp_path / "repository" / "2", tmp_path / "two")
    async with following(WatchedLoader(tmp_path), redis_server.url) as lifecycle:
        await settled(lifecycle, wish(1, "1/a"))
        former = lifecycle.current("user")
        await settled(lifecycle, wish(2, "2/a"))
        assert lifecycle.current("user") is former
        assert lifecycle.state().champion == "1/a"
        shutil.move(tmp_path / "two", tmp_path / "repository" / "2")
        await until(lambda: lifecycle.state().champion == "2/a")
        await until(lambda: [t.version for t in lifecycle.state().targets] == [2])


async def test_worker_that_begins_without_redis_serves_by_the_snapshot(
    loader: WatchedLoader, redis_server: RedisServer
) -> None:
    """As champion a target without its records is better than none; as candidate it is not."""
    async with following(loader, NOWHERE) as lifecycle:
        await settled(lifecycle, wish(1, "1/a", candidate="2/a"))
        champion = lifecycle.current("user")
        assert champion.generation is None
        assert "prior snapshot answers" in (told(lifecycle, "1/a").reason or "")
        assert told(lifecycle, "1/a").state == "active"
        assert told(lifecycle, "2/a").state == "failed"
        assert "no generation can be chosen" in (told(lifecycle, "2/a").reason or "")
        await settled(lifecycle, wish(2, "3/a"))
        assert lifecycle.current("user").version == 3


async def test_champion_takes_its_generation_as_soon_as_it_can_be_read(
    loader: WatchedLoader, lifecycle: Lifecycle, redis_server: RedisServer, quick: None
) -> None:
    """Nobody has to tell a worker that Redis has come back."""
    redis = redis_server.client()
    redis.delete("choirrec:late:meta")
    await settled(lifecycle, wish(1, "1/late"))
    assert lifecycle.current("user").generation is None
    publish(make_world(1), redis, "late")
    await until(lambda: lifecycle.current("user").generation is not None)
    assert lifecycle.current("user").generation_name == "late"
    assert told(lifecycle, "1/late").reason is None
    await until(lambda: len(lifecycle.state().targets) == 1)
    assert loader.loads == [1]


async def test_bootstrap_serves_until_a_desired_state_is_known(lifecycle: Lifecycle) -> None:
    """A replica that knows no desired state yet answers by the snapshot, and then follows."""
    with pytest.raises(NotReady, match="starting"):
        lifecycle.current("user")
    lifecycle.bootstrap(None)
    await until(lambda: lifecycle.ready)
    assert lifecycle.current("user").version == 4
    assert lifecycle.state().revision == 0
    await settled(lifecycle, wish(1, "2/a"))
    assert lifecycle.state().champion == "2/a"
    await until(lambda: [t.version for t in lifecycle.state().targets] == [2])
    lifecycle.bootstrap(1)
    await asyncio.sleep(0.02)
    assert lifecycle.state().champion == "2/a"


async def test_bootstrap_tells_why_nothing_serves(
    tmp_path: Path, redis_server: RedisServer, quick: None
) -> None:
    """Callers and probes read the reason, until a bundle appears."""
    async with following(WatchedLoader(tmp_path), redis_server.url) as lifecycle:
        lifecycle.bootstrap(None)
        await until(lambda: [t.state for t in lifecycle.state().targets] == ["failed"])
        with pytest.raises(NotReady, match="holds no complete model version"):
            lifecycle.current("user")
        write_bundle(make_world(7), tmp_path / "repository" / "7")
        await until(lambda: lifecycle.ready)
        assert lifecycle.current("user").version == 7


async def test_canary_answers_its_side_only_while_it_is_ready(
    loader: WatchedLoader, lifecycle: Lifecycle
) -> None:
    """Before it is loaded, and after it has ended, the champion answers everybody."""
    users = [f"user-{n}" for n in range(300)]

    def versions() -> set[int]:
        return {lifecycle.current(user).version for user in users}

    await settled(lifecycle, wish(1, "1/a"))
    loader.gate.clear()
    state = wish(2, "1/a", canary=Canary(target("2/a"), 0.3))
    lifecycle.reconcile(state)
    await until(lambda: loader.loads == [1, 2])
    assert versions() == {1}
    loader.gate.set()
    await until(lambda: lifecycle.state().revision == 2)
    assert versions() == {1, 2}
    assert lifecycle.state().canary == "2/a"
    await settled(lifecycle, wish(3, "1/a"))
    assert versions() == {1}
    assert lifecycle.state().canary is None


async def test_failed_canary_leaves_its_users_to_the_champion(lifecycle: Lifecycle) -> None:
    """A canary that cannot be loaded here costs nobody an answer."""
    await settled(lifecycle, wish(1, "1/a", canary=Canary(target("4/a"), 1.0)))
    assert lifecycle.current("user").version == 1
    assert told(lifecycle, "4/a").state == "failed"


async def test_newest_document_wins_and_loads_never_overlap(
    loader: WatchedLoader, lifecycle: Lifecycle
) -> None:
    """Orders that overtake each other cost no load that nobody wants any more."""
    await settled(lifecycle, wish(1, "1/a"))
    loader.gate.clear()
    lifecycle.reconcile(wish(2, "1/a", candidate="2/a"))
    await until(lambda: loader.loads == [1, 2])
    lifecycle.reconcile(wish(3, "1/a", candidate="2/b"))
    lifecycle.reconcile(wish(4, "1/a", candidate="3/a"))
    loader.gate.set()
    await until(lambda: lifecycle.state().revision == 4)
    assert {t.version for t in lifecycle.state().targets} == {1, 3}
    assert loader.loads == [1, 2, 3]
    assert loader.most_at_once == 1


async def test_older_document_is_never_followed(
    loader: WatchedLoader, lifecycle: Lifecycle
) -> None:
    """A message that was late moves nothing back."""
    await settled(lifecycle, wish(5, "1/a"))
    lifecycle.reconcile(wish(4, "2/a"))
    await asyncio.sleep(0.05)
    assert lifecycle.state().champion == "1/a"
    assert lifecycle.state().revision == 5
    assert loader.loads == [1]


async def test_leased_model_lives_until_its_last_request_ends(lifecycle: Lifecycle) -> None:
    """A request that began with a version ends with it, whatever is desired meanwhile."""
    await settled(lifecycle, wish(1, "1/a"))
    with lifecycle.current("user") as served:
        await settled(lifecycle, wish(2, "2/a"))
        seen = told(lifecycle, "1/a")
        assert (seen.state, seen.leases) == ("draining", 1)
        assert served.version == 1
    await until(lambda: [t.version for t in lifecycle.state().targets] == [2])


async def test_counts_go_on_when_a_target_comes_back(lifecycle: Lifecycle) -> None:
    """Counts only grow, so that windows of them can be compared."""
    await settled(lifecycle, wish(1, "1/a"))
    lifecycle.current("user").tally.answered(0.01, 3, failed=False)
    await settled(lifecycle, wish(2, "2/a"))
    assert lifecycle.state().counts["1/a"].requests == 3
    await settled(lifecycle, wish(3, "1/a"))
    lifecycle.current("user").tally.answered(0.01, 1, failed=True)
    counts = lifecycle.state().counts["1/a"]
    assert (counts.requests, counts.errors) == (4, 1)


async def test_draining_worker_says_so(lifecycle: Lifecycle) -> None:
    """It answers what comes and welcomes nobody."""
    calls: list[bool] = []
    await settled(lifecycle, wish(1, "1/a"))
    lifecycle.on_change(lambda: calls.append(lifecycle.ready))
    lifecycle.draining = True
    assert not lifecycle.ready
    assert lifecycle.state().draining
    assert lifecycle.current("user").version == 1
    assert calls[-1] is False


async def test_metrics_name_every_model_by_its_role(lifecycle: Lifecycle) -> None:
    """An operator sees what is held and why; what has gone is named no longer."""
    canary = Canary(target("2/a"), 0.1)
    await settled(lifecycle, wish(1, "1/a", canary=canary, candidate="3/a", previous="4/a"))
    await settled(lifecycle, wish(2, "1/a", canary=canary, candidate="3/a", previous="1/b"))
    text = lifecycle._metrics.exposition().decode()
    named = [line for line in text.splitlines() if line.startswith("choirrec_model_info")]
    roles = sorted(line.partition('role="')[2].partition('"')[0] for line in named)
    assert roles == ["canary", "candidate", "champion", "previous"]
    assert 'choirrec_targets{state="active"} 2.0' in text
    assert 'choirrec_targets{state="ready"} 2.0' in text
    assert 'choirrec_model_loads_total{verdict="refused"} 1.0' in text


async def test_candidate_that_does_not_fit_into_memory_is_refused(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What serves is not ended for want of memory; a worker in which nothing serves yet tries."""
    little = Available(1024, "a test")
    monkeypatch.setattr("service.lifecycle.admission.available", lambda _: little)
    await settled(lifecycle, wish(1, "1/a", candidate="2/a"))
    assert told(lifecycle, "1/a").state == "active"
    seen = told(lifecycle, "2/a")
    assert seen.state == "failed"
    assert "MiB are available by a test; give the service more memory" in (seen.reason or "")
