"""A replica follows the desired state through everything that may happen to the store."""

import asyncio
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from model.desired import Change, Desired, Target
from service.control import orphan
from service.control.changes import activate, prepare
from service.control.file_state import FileState
from service.control.local_copy import LocalCopy
from service.control.watch import Beginning, Identity, Watch
from service.errors import LoadRefused
from tests.control import CHANGE, desired_state
from tests.fixtures.fleets import PlannedFleet

WAIT_S = 20.0


@dataclass
class Replica:
    """A watch with its fleet and its places on disk."""

    folder: Path
    name: str = "r1"
    state: str = "state"
    choose: Callable[[], Target] = lambda: Target(1, "g1")
    fleet: PlannedFleet = field(default_factory=PlannedFleet)

    def __post_init__(self) -> None:
        """Wire it."""
        self.store = FileState(self.folder / self.state)
        self.watch = self.restarted()

    def restarted(self) -> Watch:
        """A watch as after a restart of the process: nothing but the disk is left."""

        async def choose() -> Target:
            return self.choose()

        copy = LocalCopy(self.folder / self.name, self.state)
        identity = Identity(self.name, "host")
        return Watch(self.store, self.fleet, copy, Beginning(choose, 7), identity)

    def lose_store(self) -> None:
        """Put a file where the folder stood, so that every call fails."""
        (self.folder / self.state).rename(self.folder / "lost")
        (self.folder / self.state).write_text("")

    def find_store(self) -> None:
        """Bring the folder back as it was."""
        (self.folder / self.state).unlink()
        (self.folder / "lost").rename(self.folder / self.state)


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario()

    asyncio.run(run())


async def _follow(*replicas: Replica, times: int = 3) -> None:
    for _ in range(times):
        for replica in replicas:
            await replica.watch.follow_once()


def test_first_replica_writes_what_its_settings_name(tmp_path: Path) -> None:
    """With no document anywhere, the workers get one within two looks, and all may read it."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await _follow(replica)
        found = await replica.store.read()
        assert found is not None
        assert (found.revision, found.champion, found.change.who) == (1, Target(1, "g1"), "r1")
        assert replica.fleet.pushed == [found]
        assert replica.fleet.bootstrapped == []

    _run(scenario)


def test_two_replicas_that_start_at_once_agree(tmp_path: Path) -> None:
    """Whoever is second follows the first, whatever its own settings say."""

    async def scenario() -> None:
        one, two = Replica(tmp_path), Replica(tmp_path, "r2", choose=lambda: Target(2, "g2"))
        for _ in range(3):
            await asyncio.gather(one.watch.follow_once(), two.watch.follow_once())
        assert one.fleet.pushed == two.fleet.pushed
        assert len(await one.store.history(10)) == 1

    _run(scenario)


async def _hear(*replicas: Replica) -> None:
    """Each replica reports, hears all, and follows what comes of it."""
    for replica in replicas:
        await replica.watch.report_once()
    await asyncio.gather(*(replica.watch.report_once() for replica in replicas))
    await asyncio.gather(*(replica.watch.follow_once() for replica in replicas))
    await _follow(*replicas)


def test_first_champion_is_pinned_once_by_two_replicas_that_start_at_once(tmp_path: Path) -> None:
    """One revision tells the bundle that all workers hold, and changes no role."""

    async def scenario() -> None:
        one, two = Replica(tmp_path), Replica(tmp_path, "r2")
        await asyncio.gather(one.watch.follow_once(), two.watch.follow_once())
        await _follow(one, two)
        await _hear(one, two)
        await _hear(one, two)
        entry, first = await one.store.history(10)
        assert replace(entry, revision=1, change=first.change, bundles={}) == first
        assert entry.bundles == {1: "digest 1"}
        assert entry.change.action == "pin"
        assert "1: digest 1" in entry.change.why
        assert one.fleet.pushed == two.fleet.pushed == [first, entry]

    _run(scenario)


def test_nothing_is_pinned_before_every_worker_holds_it(tmp_path: Path) -> None:
    """A bundle that one worker refuses, or has not loaded yet, may still be mended."""

    async def scenario() -> None:
        one, two = Replica(tmp_path), Replica(tmp_path, "r2")
        two.fleet.held = True
        one.fleet.failures[1, Target(1, "g1")] = "its file is damaged"
        await _follow(one, two)
        await _hear(one, two)
        one.fleet.failures.clear()
        await _hear(one, two)
        assert len(await one.store.history(10)) == 1
        two.fleet.settle()
        await _hear(one, two)
        assert (await one.store.history(10))[0].bundles == {1: "digest 1"}

    _run(scenario)


def test_bundles_that_workers_disagree_on_are_told_once_and_not_pinned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody decides by chance which of two bundles a number means."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        replica.fleet.digests[1, Target(1, "g1")] = "another"
        await _follow(replica)
        await _hear(replica)
        await _hear(replica)
        assert len(await replica.store.history(10)) == 1
        told = [text for text in caplog.messages if "different bundles as version 1" in text]
        assert len(told) == 1
        assert "another, digest 1" in told[0]

    _run(scenario)


def test_previous_champion_of_an_unpinned_document_is_pinned_after_a_promotion(
    tmp_path: Path,
) -> None:
    """A candidate keeps its revision until its verdict; then what it left behind is pinned, too."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        change = replace(CHANGE, evidence={"digests": ["digest 2"]})
        prepared = prepare(desired_state(), Target(2, "g1"), change)
        await replica.store.change(0, prepared)
        await _follow(replica)
        await _hear(replica)
        assert await replica.store.read() == prepared
        await replica.store.change(2, activate(prepared, Target(2, "g1"), change))
        await _follow(replica)
        await _hear(replica)
        found = await replica.store.read()
        assert found is not None
        assert found.bundles == {1: "digest 1", 2: "digest 2"}

    _run(scenario)


def test_snapshot_serves_until_a_first_document_can_be_written(tmp_path: Path) -> None:
    """Where no generation can be read, workers are bootstrapped, and the reason is told."""

    def refuse() -> Target:
        raise LoadRefused("no generation fits the bundle")

    async def scenario() -> None:
        replica = Replica(tmp_path, choose=refuse)
        await _follow(replica)
        assert set(replica.fleet.bootstrapped) == {7}
        assert replica.fleet.pushed == []
        assert "no generation fits the bundle" in (replica.watch.trouble or "")

    _run(scenario)


def test_store_that_takes_no_reports_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is noticed at once, not when the first order is refused."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await _follow(replica)
        reports = tmp_path / "state" / "replicas"
        reports.write_text("no room")
        for _ in range(2):
            await replica.watch.report_once()
            await _follow(replica)
        assert "cannot report to the others" in (replica.watch.trouble or "")
        assert sum("cannot report" in line for line in caplog.messages) == 1
        reports.unlink()
        await replica.watch.report_once()
        assert replica.watch.trouble is None

    _run(scenario)


def test_lost_store_makes_no_replica_miss_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot report tells of the store, and not that it has not reported."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await _follow(replica)
        await replica.watch.report_once()
        replica.lose_store()
        await replica.watch.report_once()
        later_s = time.monotonic() + 11.0
        monkeypatch.setattr(time, "monotonic", lambda: later_s)
        assert replica.watch.roll.silent() == {}
        assert "cannot report to the others" in (replica.watch.trouble or "")

    _run(scenario)


def test_store_that_is_away_at_the_start_leaves_the_copy(tmp_path: Path) -> None:
    """A replica that restarts without the store serves what it served, and tells of the store."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await _follow(replica)
        (kept,) = replica.fleet.pushed
        replica.lose_store()
        replica.fleet.pushed.clear()
        replica.watch = replica.restarted()
        await _follow(replica)
        assert replica.fleet.pushed == [kept]
        assert replica.fleet.bootstrapped == []
        assert "state" in (replica.watch.trouble or "")
        replica.find_store()
        await _follow(replica)
        assert not replica.watch.trouble
        assert replica.fleet.pushed == [kept]

    _run(scenario)


def test_store_that_is_away_with_no_copy_means_the_snapshot(tmp_path: Path) -> None:
    """The first start of a replica without the store answers by the bundle's priors."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await replica.store.change(0, desired_state())
        replica.lose_store()
        await _follow(replica)
        assert set(replica.fleet.bootstrapped) == {7}
        replica.find_store()
        await _follow(replica)
        assert replica.fleet.pushed == [desired_state()]

    _run(scenario)


def test_emptied_store_gets_the_copy_back(tmp_path: Path) -> None:
    """What was decided survives the loss of the store, at its own revision."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        decided = desired_state(8, version=3)
        await replica.store.change(0, decided)
        await _follow(replica)
        for path in (tmp_path / "state").glob("*"):
            path.unlink()
        replica.watch = replica.restarted()
        await _follow(replica)
        assert await replica.store.read() == decided
        assert replica.fleet.pushed[-1] == decided

    _run(scenario)


def test_lower_revision_is_never_followed(tmp_path: Path) -> None:
    """A store that has lost its last changes gets them back from whoever followed them."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await replica.store.change(0, desired_state(8, version=3))
        await _follow(replica)
        for path in (tmp_path / "state").glob("*"):
            path.unlink()
        await replica.store.change(0, desired_state(2))
        await _follow(replica)
        assert [pushed.revision for pushed in replica.fleet.pushed] == [8]
        assert await replica.store.read() == desired_state(8, version=3)

    _run(scenario)


def test_two_documents_of_one_revision_are_settled(tmp_path: Path) -> None:
    """What the store holds wins under the next number, so that no worker keeps the other one."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await replica.store.change(0, desired_state(5, version=1))
        await _follow(replica)
        for path in (tmp_path / "state").glob("*"):
            path.unlink()
        await replica.store.change(0, desired_state(5, version=2))
        await _follow(replica)
        last = replica.fleet.pushed[-1]
        assert (last.revision, last.champion.version) == (6, 2)

    _run(scenario)


def test_copy_is_private_and_belongs_to_its_store(tmp_path: Path) -> None:
    """Only its owner reads it, and a disk moved to another deployment brings nothing along."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await _follow(replica)
        (path,) = (tmp_path / "r1").iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        moved = Replica(tmp_path, state="elsewhere", choose=lambda: Target(2, "g2"))
        await _follow(moved)
        assert moved.fleet.pushed[-1].champion == Target(2, "g2")

    _run(scenario)


@pytest.mark.parametrize("content", [b"", b"{", b'{"revision": 0}', b"\xff" * 10])
def test_damaged_copy_is_passed_over(tmp_path: Path, content: bytes) -> None:
    """A copy that cannot be read is as none; the store decides."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        await _follow(replica)
        (path,) = (tmp_path / "r1").iterdir()
        path.write_bytes(content)
        replica.watch = replica.restarted()
        assert replica.watch.known is None
        await _follow(replica)
        assert replica.fleet.pushed[-1].revision == 1

    _run(scenario)


def test_disk_that_refuses_the_copy_stops_nothing(tmp_path: Path) -> None:
    """Workers are told all the same."""

    async def scenario() -> None:
        (tmp_path / "r1").write_text("no folder")
        replica = Replica(tmp_path)
        await _follow(replica)
        assert [pushed.revision for pushed in replica.fleet.pushed] == [1]

    _run(scenario)


def test_candidate_whose_operator_is_gone_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor killed in the middle of a promotion leaves nothing behind for ever."""
    monkeypatch.setattr(orphan, "GRACE_S", 0.0)

    async def scenario() -> None:
        replica = Replica(tmp_path)
        change = Change("promote", "ann", "why", 1.0, evidence={"within_s": 0.2})
        await replica.store.change(0, prepare(desired_state(), Target(2, "g1"), change))
        await _follow(replica)
        found = await replica.store.read()
        assert found is not None
        assert found.candidate == Target(2, "g1")
        await asyncio.sleep(0.3)
        await _follow(replica)
        assert replica.fleet.pushed[-1].candidate is None
        assert replica.fleet.pushed[-1].change.action == "withdraw"

    _run(scenario)


def test_clock_starts_anew_with_each_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second promotion has its own time, however long the first one took."""
    monkeypatch.setattr(orphan, "GRACE_S", 0.0)
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    clock = orphan.OrphanClock()
    change = Change("promote", "ann", "why", 1.0, evidence={"within_s": 10})
    first = prepare(desired_state(), Target(2, "g1"), change)
    assert not clock.is_orphan(first)
    now_s = 9.0
    done = activate(first, Target(2, "g1"), change)
    assert not clock.is_orphan(done)
    second = prepare(done, Target(3, "g1"), change)
    assert not clock.is_orphan(second)
    now_s = 18.0
    assert not clock.is_orphan(second)
    now_s = 19.5
    assert clock.is_orphan(second)


def test_reason_of_several_lines_is_one_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody writes an entry of the log by giving a reason."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        change = Change("promote", "ann", "ok\n2026-11-20 ERROR forged", 1.0)
        await replica.store.change(0, replace(desired_state(), change=change))
        await _follow(replica)

    caplog.set_level("INFO")
    _run(scenario)
    (told,) = [text for text in caplog.messages if "forged" in text]
    assert "\n" not in told


def test_running_watch_follows_and_reports(tmp_path: Path) -> None:
    """Left alone it follows every change, and its report tells what workers settled."""

    async def scenario() -> None:
        replica = Replica(tmp_path)
        running = asyncio.create_task(replica.watch.run())
        try:
            # The second one tells the bundle of the first champion.
            await _until(lambda: bool(replica.fleet.pushed and replica.fleet.pushed[-1].bundles))
            present = await replica.store.read()
            assert present is not None
            newer = replace(present, revision=3, champion=Target(2, "g1"))
            assert await replica.store.change(2, newer)
            replica.watch.wake()
            await _until(lambda: replica.fleet.pushed[-1].champion == Target(2, "g1"))
            await _until_reported(replica.store, 3)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    _run(scenario)


def test_mistake_in_a_step_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong in one look, the next one follows."""
    monkeypatch.setattr("service.control.watch.RETRY_S", 0.01)

    async def scenario() -> None:
        replica = Replica(tmp_path)
        reads = replica.store.read
        calls = 0

        async def wrong_once() -> Desired | None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("a mistake")
            return await reads()

        monkeypatch.setattr(replica.store, "read", wrong_once)
        running = asyncio.create_task(replica.watch.run())
        try:
            await _until(lambda: bool(replica.fleet.pushed))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    _run(scenario)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.01)


async def _until_reported(store: FileState, revision: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while not any(r.converged == revision for r in await store.replicas()):
            await asyncio.sleep(0.01)
