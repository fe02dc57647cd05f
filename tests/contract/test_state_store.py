"""What every state store keeps: one suite, every implementation, a real Redis and a real folder."""

import asyncio
import fcntl
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeVar

import pytest

from model.desired import REPLICAS_KEY, Change
from service.api.server import new_loop
from service.control.open_state import open_state
from service.control.redis_state import LEASE_KEY
from service.control.state_store import CALL_TIMEOUT_S, StateStore
from service.errors import StateUnavailable
from tests.control import desired_state, replica_state, worker_state
from tests.fixtures.redis import RedisServer, running_redis

Answer = TypeVar("Answer")
WRITERS = 4
CHANGES_EACH = 25
NO_TEXT = b'{"until_s": 9e9, "holder": "\xff", "report": {"replica": "\xff"}, "replica": "\xff"}'
SPOILT = (b"{broken", b'{"until_s": "soon"}', NO_TEXT)
"""What is no lease and no report."""
LATER_MS = b"99999999999999"


@dataclass
class Place:
    """Where a state may stand, and how a test may harm it."""

    url: str
    damage: Callable[[], object]
    """Put something in the document's place that is no document."""
    empty: Callable[[], object]
    """Lose everything."""
    lose: Callable[[], object]
    """Take the whole place away."""
    litter: Callable[[], object]
    """Put a line that is no document into the history."""
    spoil_lease: Sequence[Callable[[], object]]
    """Ways to put something in the lease's place that no replica took."""
    spoil_reports: Sequence[tuple[Callable[[], object], str]]
    """Ways to put something in the place of a report, and how each is named."""


def _in_redis(server: RedisServer) -> Place:
    redis = server.client()
    named = r"replica 'host:9100' .* remove it \(redis-cli hdel choirrec:replicas 'host:9100'\)"
    return Place(
        server.url,
        damage=lambda: redis.set("choirrec:desired", "{}"),
        empty=redis.flushall,
        lose=server.kill,
        litter=lambda: redis.lpush("choirrec:desired:history", "{"),
        spoil_lease=(
            lambda: redis.set(LEASE_KEY, "{broken"),
            lambda: redis.delete(LEASE_KEY) and redis.lpush(LEASE_KEY, "of another type"),
        ),
        spoil_reports=[
            (partial(redis.hset, REPLICAS_KEY, "host:9100", LATER_MS + b" " + report), named)
            for report in SPOILT
        ],
    )


def _in_folder(folder: Path) -> Place:
    def lose() -> None:
        folder.rename(folder.with_name("elsewhere"))
        folder.write_text("no folder")

    def empty() -> None:
        for path in folder.glob("**/*"):
            if path.is_file():
                path.unlink()

    def litter() -> None:
        with (folder / "history.jsonl").open("a") as file:
            file.write("{\n")

    def spoil_lease(content: bytes) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "lease.json").write_bytes(content)

    def spoil_report(content: bytes) -> None:
        (folder / "replicas").mkdir(parents=True, exist_ok=True)
        (folder / "replicas" / "zz.json").write_bytes(content)

    named = r"replicas/zz\.json: .* remove it"
    return Place(
        str(folder),
        damage=lambda: (folder / "desired.json").write_text("{}"),
        empty=empty,
        lose=lose,
        litter=litter,
        spoil_lease=[partial(spoil_lease, content) for content in (b"", *SPOILT)],
        spoil_reports=[(partial(spoil_report, content), named) for content in SPOILT],
    )


@pytest.fixture(params=["redis", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """One kind of place after the other."""
    if request.param == "folder":
        yield _in_folder(tmp_path / "state")
        return
    with running_redis(tmp_path) as server:
        yield _in_redis(server)


def _run(place: Place, scenario: Callable[[StateStore], Awaitable[Answer]]) -> Answer:
    async def run() -> Answer:
        store = open_state(place.url)
        try:
            return await scenario(store)
        finally:
            await store.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(run())


def test_empty_store_says_so(place: Place) -> None:
    """A place that nobody has used holds no document, no history and no replicas."""

    async def scenario(store: StateStore) -> None:
        assert await store.read() is None
        assert list(await store.history(10)) == []
        assert list(await store.replicas()) == []

    _run(place, scenario)


def test_change_is_read_back_with_its_history(place: Place) -> None:
    """What one revision says is read as it was written, and the history is newest first."""

    async def scenario(store: StateStore) -> None:
        first = desired_state(1)
        why = Change("promote", "ann@host", 'quotes " and\nlines, é', 2.5, True, {"n": [1, 2.0]})
        second = replace(desired_state(2, version=2), change=why)
        assert await store.change(0, first)
        assert await store.change(1, second)
        assert await store.read() == second
        assert list(await store.history(10)) == [second, first]
        assert list(await store.history(1)) == [second]

    _run(place, scenario)


def test_change_of_another_revision_writes_nothing(place: Place) -> None:
    """Whoever has not seen the last change cannot undo it, in the document or in the history."""

    async def scenario(store: StateStore) -> None:
        assert await store.change(0, desired_state(1))
        for expected in (0, 2, 7):
            assert not await store.change(expected, desired_state(9, version=9))
        assert await store.read() == desired_state(1)
        assert [entry.revision for entry in await store.history(10)] == [1]

    _run(place, scenario)


def test_of_many_writers_at_once_each_revision_has_one(place: Place) -> None:
    """Processes that race lose no change: every revision stands once in the history."""
    context = multiprocessing.get_context("spawn")
    _run(place, lambda store: store.change(0, desired_state(1)))
    writers = [context.Process(target=_write_many, args=(place.url, n)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    history = _run(place, lambda store: store.history(1000))
    assert [entry.revision for entry in history] == list(range(1 + WRITERS * CHANGES_EACH, 0, -1))
    authors = [entry.change.who for entry in history[:-1]]
    assert {author: authors.count(author) for author in authors} == {
        f"writer {number}": CHANGES_EACH for number in range(WRITERS)
    }


def _write_many(url: str, number: int) -> None:
    async def write() -> None:
        store = open_state(url)
        written = 0
        while written < CHANGES_EACH:
            present = await store.read()
            assert present is not None
            change = replace(present.change, who=f"writer {number}")
            after = replace(present, revision=present.revision + 1, change=change)
            written += await store.change(present.revision, after)
        await store.close()

    asyncio.run(write())


def test_reports_are_forgotten_when_they_are_not_renewed(place: Place) -> None:
    """A replica that died is told of for its report's life and no longer; others stay."""

    async def scenario(store: StateStore) -> None:
        brief = replica_state("brief", workers=(worker_state(),))
        lasting = replica_state("lasting/at:9100")
        await store.report(lasting, 30)
        await store.report(brief, 0.3)
        assert list(await store.replicas()) == [brief, lasting]
        await asyncio.sleep(0.5)
        assert list(await store.replicas()) == [lasting]
        renewed = replica_state("lasting/at:9100", revision=2)
        await store.report(renewed, 30)
        assert list(await store.replicas()) == [renewed]

    _run(place, scenario)


def test_lease_has_one_holder_until_it_ends(place: Place) -> None:
    """Only one judges at a time; a holder that died is succeeded after its lease's life."""

    async def scenario(store: StateStore) -> None:
        assert await store.lease("a", 30)
        assert await store.lease("a", 0.3)
        assert not await store.lease("b", 30)
        await asyncio.sleep(0.5)
        assert await store.lease("b", 30)
        assert not await store.lease("a", 30)

    _run(place, scenario)


def test_lease_that_nobody_took_is_free(place: Place) -> None:
    """Something that is no lease keeps nobody from judging, and the next lease has one holder."""

    async def scenario(store: StateStore) -> None:
        for spoil in place.spoil_lease:
            spoil()
            assert await store.lease("a", 30)
            assert not await store.lease("b", 30)
            assert await store.lease("a", 30)

    _run(place, scenario)


def test_damaged_document_is_told_and_never_overwritten(place: Place) -> None:
    """Something that is no document stops changes with a word on how to mend it."""

    async def scenario(store: StateStore) -> None:
        assert await store.change(0, desired_state(1))
        place.damage()
        with pytest.raises(StateUnavailable, match="put their copy back"):
            await store.read()
        for expected in (0, 1):
            with pytest.raises(StateUnavailable):
                await store.change(expected, desired_state(2))

    _run(place, scenario)


def test_damaged_entry_hides_no_other(place: Place) -> None:
    """One bad line costs neither the history nor the next change."""

    async def scenario(store: StateStore) -> None:
        assert await store.change(0, desired_state(1))
        place.litter()
        assert [entry.revision for entry in await store.history(9)] == [1]
        assert await store.change(1, desired_state(2))

    _run(place, scenario)


def test_history_that_cannot_be_written_holds_no_change(tmp_path: Path) -> None:
    """No revision holds that the audit log does not know."""
    with running_redis(tmp_path) as server:
        server.client().set("choirrec:desired:history", "of another type")

        async def scenario(store: StateStore) -> None:
            with pytest.raises(StateUnavailable):
                await store.change(0, desired_state(1))
            assert await store.read() is None

        _run(_in_redis(server), scenario)


def test_damaged_report_is_named(place: Place) -> None:
    """Whoever must remove it is told whose it is and how; other reports go on being written."""

    async def scenario(store: StateStore) -> None:
        for spoil, named in place.spoil_reports:
            await store.report(replica_state("a"), 5.0)
            spoil()
            with pytest.raises(StateUnavailable, match=named):
                await store.replicas()

    _run(place, scenario)


def test_key_of_another_type_is_named(tmp_path: Path) -> None:
    """A foreign writer's key in the place of the reports is told with the way to mend it."""
    with running_redis(tmp_path) as server:
        server.client().set(REPLICAS_KEY, "of another type")

        async def scenario(store: StateStore) -> None:
            for call in (store.report(replica_state(), 5.0), store.replicas()):
                with pytest.raises(StateUnavailable, match=rf"WRONGTYPE.* delete {REPLICAS_KEY}"):
                    await call

        _run(_in_redis(server), scenario)


def test_emptied_store_takes_a_document_back(place: Place) -> None:
    """After a loss, whoever kept a copy may put it back at its own revision."""

    async def scenario(store: StateStore) -> None:
        assert await store.change(0, desired_state(1))
        place.empty()
        assert await store.read() is None
        assert await store.change(0, desired_state(8))
        assert await store.read() == desired_state(8)
        assert [entry.revision for entry in await store.history(9)] == [8]

    _run(place, scenario)


def test_lost_store_is_unavailable_in_every_call(place: Place) -> None:
    """Nobody waits for long or sees a vendor's exception when the store is gone."""

    async def scenario(store: StateStore) -> None:
        assert await store.change(0, desired_state(1))
        place.lose()
        begun = time.monotonic()
        for call in (
            store.read(),
            store.change(1, desired_state(2)),
            store.history(3),
            store.report(replica_state(), 5),
            store.lease("a", 5),
        ):
            with pytest.raises(StateUnavailable):
                await call
        assert time.monotonic() - begun < CALL_TIMEOUT_S

    _run(place, scenario)


def test_hung_redis_costs_the_time_of_one_call(tmp_path: Path) -> None:
    """A Redis that accepts and never answers is unavailable after two seconds, then found again."""
    with running_redis(tmp_path) as server:

        async def scenario(store: StateStore) -> None:
            assert await store.change(0, desired_state(1))
            server.hang()
            begun = time.monotonic()
            with pytest.raises(StateUnavailable):
                await store.read()
            assert time.monotonic() - begun < 2 * CALL_TIMEOUT_S
            server.resume()
            assert await store.read() == desired_state(1)

        _run(_in_redis(server), scenario)


def test_change_killed_between_history_and_document_never_happened(tmp_path: Path) -> None:
    """A line beyond the document, or half a line, is no revision; the next change follows on."""
    place = _in_folder(tmp_path / "state")

    async def scenario(store: StateStore) -> None:
        assert await store.change(0, desired_state(1))
        with (tmp_path / "state" / "history.jsonl").open("a") as file:
            file.write(desired_state(2, version=9).to_json().replace("\n", " ") + "\n")
            file.write('{"revision": 2, "cham')
        assert [entry.revision for entry in await store.history(9)] == [1]
        assert await store.change(1, desired_state(2, version=2))
        assert [entry.champion.version for entry in await store.history(9)] == [2, 1]

    _run(place, scenario)


def test_change_that_waited_in_vain_is_never_made(tmp_path: Path) -> None:
    """An operator who was told that an order failed does not find it done once the lock is free."""
    place = _in_folder(tmp_path / "state")

    async def scenario(store: StateStore) -> None:
        assert await store.change(0, desired_state(1))
        with (tmp_path / "state" / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(StateUnavailable):
                await store.change(1, desired_state(2))
        assert await store.read() == desired_state(1)

    _run(place, scenario)


def test_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    """A process that dies with the lock leaves it free, for no state outlives its owner."""
    place = _in_folder(tmp_path / "state")
    _run(place, lambda store: store.change(0, desired_state(1)))
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    holder = context.Process(target=_hold_lock, args=(tmp_path / "state", taken), daemon=True)
    holder.start()
    assert taken.wait(30)

    async def scenario(store: StateStore) -> None:
        with pytest.raises(StateUnavailable):
            await store.change(1, desired_state(2))
        holder.kill()
        holder.join()
        assert await store.change(1, desired_state(2))

    _run(place, scenario)


def _hold_lock(folder: Path, taken: Event) -> None:
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        taken.set()
        time.sleep(60)


def test_place_that_is_neither_is_refused() -> None:
    """A setting that names another kind of URL is told at the start."""
    with pytest.raises(ValueError, match="expected redis://host:port/0 or a folder"):
        open_state("https://example.org/state")
