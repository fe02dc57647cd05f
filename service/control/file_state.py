"""The desired state in a folder: one lock, whole files, for replicas that share a disk."""

import asyncio
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import msgspec

from model.desired import BadDesired, Desired
from model.whole_file import whole_file
from service.control.state_store import CALL_TIMEOUT_S, REPORT_COMES_BACK, UNREADABLE, readable
from service.errors import StateUnavailable
from service.lifecycle.states import ReplicaState

_LOCK_TRY_S = 0.01
_LOCK_PATIENCE_S = CALL_TIMEOUT_S / 2
"""Ends well before the caller's, so that nobody is told of a failure that comes true later."""

_Answer = TypeVar("_Answer")


class _Lease(msgspec.Struct, frozen=True):
    """Who holds the lease, and until when."""

    holder: str
    until_s: float


class _Report(msgspec.Struct, frozen=True):
    """What a replica said, and until when it counts."""

    until_s: float
    report: ReplicaState


class FileState:
    """A state store in a folder.

    ``desired.json`` is the document. ``history.jsonl`` holds one revision per line, written before
    the document: a line beyond the document's revision belongs to a change that was killed.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made by the first write.

        Args:
            folder: on a disk that all replicas share, whose clocks agree within a second.
        """
        self._folder = folder
        # One thread, so that a disk that hangs costs one thread and not one per call.
        self._thread = ThreadPoolExecutor(1, "state")

    async def read(self) -> Desired | None:
        """As ``StateStore.read``."""
        return await self._ask(self._read)

    async def change(self, expected_revision: int, desired: Desired) -> bool:
        """As ``StateStore.change``."""
        give_up_s = time.monotonic() + _LOCK_PATIENCE_S
        return await self._ask(lambda: self._change(expected_revision, desired, give_up_s))

    async def history(self, limit: int) -> Sequence[Desired]:
        """As ``StateStore.history``."""
        return await self._ask(lambda: self._history(limit))

    async def report(self, state: ReplicaState, life_s: float) -> None:
        """As ``StateStore.report``."""
        await self._ask(lambda: self._report(state, life_s))

    async def replicas(self) -> Sequence[ReplicaState]:
        """As ``StateStore.replicas``."""
        return await self._ask(self._replicas)

    async def lease(self, holder: str, life_s: float) -> bool:
        """As ``StateStore.lease``."""
        give_up_s = time.monotonic() + _LOCK_PATIENCE_S
        return await self._ask(lambda: self._lease(holder, life_s, give_up_s))

    async def close(self) -> None:
        """As ``StateStore.close``."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, call: Callable[[], _Answer]) -> _Answer:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await loop.run_in_executor(self._thread, call)
        except TimeoutError as error:
            raise StateUnavailable(
                f"{self._folder} did not answer within {CALL_TIMEOUT_S:g} s"
            ) from error
        except BadDesired as error:
            raise StateUnavailable(
                f"{self._document}: {error}; remove the file, and the replicas put their copy back"
            ) from error
        except OSError as error:
            raise StateUnavailable(f"{self._folder}: {error}") from error

    @property
    def _document(self) -> Path:
        return self._folder / "desired.json"

    @property
    def _past(self) -> Path:
        return self._folder / "history.jsonl"

    def _read(self) -> Desired | None:
        text = _content(self._document)
        return None if text is None else Desired.from_json(text)

    def _change(self, expected_revision: int, desired: Desired, give_up_s: float) -> bool:
        with self._locked(give_up_s):
            present = self._read()
            if (present.revision if present else 0) != expected_revision:
                return False
            self._remember(desired)
            _write(self._document, desired.to_json().encode())
            return True

    def _remember(self, desired: Desired) -> None:
        line = re.sub(r"\n *", " ", desired.to_json()).encode()
        with self._past.open("ab") as file:
            # A writer that was killed may have left half a line.
            file.write(b"\n" + line + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _history(self, limit: int) -> list[Desired]:
        present = self._read()
        if present is None:
            return []
        revisions: dict[int, Desired] = {}
        for line in (_content(self._past) or b"").splitlines():
            if (entry := readable(line)) is not None and entry.revision <= present.revision:
                revisions[entry.revision] = entry
        return sorted(revisions.values(), key=lambda entry: -entry.revision)[:limit]

    def _report(self, state: ReplicaState, life_s: float) -> None:
        folder = self._folder / "replicas"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = sha256(state.replica.encode()).hexdigest()[:16]
        _write(folder / f"{name}.json", msgspec.json.encode(_Report(time.time() + life_s, state)))

    def _replicas(self) -> list[ReplicaState]:
        live = []
        for path in sorted((self._folder / "replicas").glob("*.json")):
            text = _content(path)
            if text is None:
                continue
            told = _report(path, text)
            if told.until_s > time.time():
                live.append(told.report)
            else:
                path.unlink(missing_ok=True)
        return sorted(live, key=lambda report: report.replica)

    def _lease(self, holder: str, life_s: float, give_up_s: float) -> bool:
        path = self._folder / "lease.json"
        with self._locked(give_up_s):
            text = _content(path)
            held = None if text is None else _lease(text)
            if held is not None and held.holder != holder and held.until_s > time.time():
                return False
            _write(path, msgspec.json.encode(_Lease(holder, time.time() + life_s)))
            return True

    @contextmanager
    def _locked(self, give_up_s: float) -> Iterator[None]:
        """Hold the folder's lock, which ends with the process at the latest."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "lock").open("a") as file:
            while not _lock(file.fileno()):
                if time.monotonic() > give_up_s:
                    raise OSError(f"the lock was not free within {_LOCK_PATIENCE_S:g} s")
                time.sleep(_LOCK_TRY_S)
            yield


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _report(path: Path, text: bytes) -> _Report:
    try:
        return msgspec.json.decode(text, type=_Report)
    except UNREADABLE as error:
        raise StateUnavailable(
            f"{path}: no report can be read ({error}); remove it: {REPORT_COMES_BACK}"
        ) from error


def _lease(text: bytes) -> _Lease | None:
    """None for a damaged one, which nobody holds."""
    try:
        return msgspec.json.decode(text, type=_Lease)
    except UNREADABLE:
        return None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(content)
