"""Workers are kept running, heard, told and ended, whatever they do."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from model.desired import Change, Desired, Target
from service.supervisor.child import Child, spawner
from service.supervisor.fleet import Fleet
from service.supervisor.keeper import Patience
from service.supervisor.pace import Pace
from service.supervisor.workers import Workers

FAKE = "tests.fixtures.fake_worker"
QUICK = Pace(first_s=0.01, most_s=0.02)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Tests run on the loop that the service runs on."""
    return "asyncio"


def document(revision: int) -> Desired:
    """A desired state."""
    change = Change(action="promote", who="a test", why="", when_s=0.0)
    return Desired(revision, Target(1, "g1"), change, salt="salt")


def fakes(faults: Sequence[str], pace: Pace = QUICK, patience: Patience | None = None) -> Workers:
    """Workers with these faults, none of which runs yet."""
    spawns = [
        spawner(FAKE, ["--number", str(number)], {"FAKE_WORKER_FAULT": fault})
        for number, fault in enumerate(faults)
    ]
    return Workers(spawns, pace, patience)


@asynccontextmanager
async def running(
    faults: Sequence[str] = ("", ""), patience: Patience | None = None
) -> AsyncIterator[Workers]:
    """Workers with these faults, which run until the block ends."""
    workers = fakes(faults, patience=patience)
    run = asyncio.create_task(workers.run())
    try:
        yield workers
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def until(workers: Workers, holds: Callable[[], bool]) -> None:
    """Wait for a condition on the workers, looking at every change."""
    async with asyncio.timeout(30):
        while not holds():
            await workers.changed()


def all_settled(workers: Workers, revision: int, count: int = 2) -> Callable[[], bool]:
    """Whether so many workers have all settled a revision."""
    return lambda: [state.revision for state in workers.states()] == [revision] * count


def pids(workers: Workers) -> list[int]:
    """Process ids by worker."""
    return [state.pid for state in workers.states()]


async def test_every_worker_follows_what_is_pushed() -> None:
    """A revision pushed once reaches all, and each says when it has settled."""
    async with running() as workers:
        fleet: Fleet = workers
        fleet.push(document(3))
        await until(workers, all_settled(workers, 3))
        assert workers.ready
        assert workers.started
        fleet.push(document(4))
        await until(workers, all_settled(workers, 4))
        assert [state.worker for state in fleet.states()] == [0, 1]


async def test_older_revision_is_not_passed_on() -> None:
    """A worker that comes later is told the newest document, never the one pushed last."""
    async with running() as workers:
        workers.push(document(5))
        workers.push(document(4))
        workers.bootstrap(None)
        await until(workers, all_settled(workers, 5))


async def test_killed_worker_comes_back_to_the_same_revision() -> None:
    """Kill -9 of a worker leaves the others alone, and the next one is told what they know."""
    async with running() as workers:
        workers.push(document(7))
        await until(workers, all_settled(workers, 7))
        first, second = pids(workers)
        os.kill(first, signal.SIGKILL)
        await until(workers, lambda: len(pids(workers)) == 1)
        assert workers.ready
        await until(workers, all_settled(workers, 7))
        assert pids(workers)[0] != first
        assert pids(workers)[1] == second
        assert 'choirrec_worker_ends_total{reason="signal"} 1' in await _exposition(workers)


async def test_hung_worker_is_killed_and_replaced() -> None:
    """A worker that says nothing for too long is taken for hung, whether early or late."""
    patience = Patience(first_beats=8, beats=2)
    async with running(["hangs at revision 1"], patience=patience) as workers:
        workers.push(document(1))
        await until(workers, all_settled(workers, 1, 1))
        workers.push(document(2))
        await until(workers, all_settled(workers, 2, 1))
        assert 'choirrec_worker_ends_total{reason="hung"} 1' in await _exposition(workers)


async def test_crash_loop_is_told_and_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that keeps ending makes the replica not ready, and metric and log say so."""
    async with running(["exits"]) as workers:
        await until(workers, lambda: "keeps ending" in workers.obstacle())
        assert not workers.ready
        text = await _exposition(workers)
        assert "choirrec_workers_looping 1" in text
        assert "worker 0 ended with exit code 3" in caplog.text
        assert "has ended 5 times in a row" in caplog.text


async def test_metrics_name_their_worker_and_silent_ones_are_left_out() -> None:
    """One scrape has every worker that answers, and does not fail for one that does not."""
    async with running(["", "", "says no metrics"]) as workers:
        workers.push(document(1))
        await until(workers, all_settled(workers, 1, 3))
        text = await _exposition(workers)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    requests = families["choirrec_requests"].samples
    assert [sample.labels for sample in requests] == [
        {"worker": "0", "route": "score"},
        {"worker": "1", "route": "score"},
    ]
    assert sum(sample.value for sample in requests) == 6
    assert families["choirrec_workers_alive"].samples[0].value == 3
    assert families["choirrec_settled_revision"].samples[0].value == 1


@pytest.mark.parametrize("stop", [Workers.drain, Workers.hang_up])
async def test_workers_that_are_told_to_end_are_not_replaced(
    stop: Callable[[Workers, float], None],
) -> None:
    """After the word to end nothing is spawned, and the run is over."""
    workers = fakes([""] * 2)
    run = asyncio.create_task(workers.run())
    workers.push(document(1))
    await until(workers, all_settled(workers, 1))
    stop(workers, 20.0)
    assert not workers.ready
    await asyncio.wait_for(run, 20.0)
    assert workers.states() == []
    assert 'choirrec_worker_ends_total{reason="exit"} 0' in await _exposition(workers)


async def test_worker_that_does_not_end_is_killed() -> None:
    """A stop never takes longer than its limit."""
    workers = fakes(["stays"])
    run = asyncio.create_task(workers.run())
    workers.push(document(1))
    await until(workers, all_settled(workers, 1, 1))
    workers.drain(0.2)
    await asyncio.wait_for(run, 20.0)


async def test_worker_waiting_to_be_respawned_does_not_delay_the_end() -> None:
    """A stop amid a long wait between two lives is a stop at once."""
    workers = fakes(["exits"], Pace(first_s=600.0, most_s=600.0))
    run = asyncio.create_task(workers.run())
    async with asyncio.timeout(30):
        while 'ends_total{reason="exit"} 1' not in await _exposition(workers):
            await workers.changed()
    workers.drain(20.0)
    await asyncio.wait_for(run, 10.0)


async def test_program_that_is_not_there_is_no_end_of_the_supervisor() -> None:
    """Where no process can be started, the attempt counts as an end and is made again."""

    def refused(end: socket.socket) -> Child:
        with end:
            raise OSError("no more processes")

    workers = Workers([refused], QUICK)
    run = asyncio.create_task(workers.run())
    await until(workers, lambda: "keeps ending" in workers.obstacle())
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_sibling_is_wanted_once_and_dismissed() -> None:
    """The same wish twice is one process; another wish is another; none, none."""
    async with running([]) as workers:
        for _ in range(2):
            workers.want("comparison", FAKE, {"FAKE_WORKER_FAULT": ""})
        workers.push(document(1))
        while 'worker="comparison"' not in await _exposition(workers):
            await asyncio.sleep(0.05)
        assert workers.states() == []
        workers.dismiss("comparison")
        assert 'worker="comparison"' not in await _exposition(workers)


async def _exposition(workers: Workers) -> str:
    return (await workers.metrics()).decode()
