"""Lanes: connections to one worker each, so that a caller knows who answered."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.swaps.replicas import HOST, Replica

MOST_TRIES = 400
"""Connections opened at most until every worker has as many as it should."""
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"

Ended = Callable[[int, bytes], None]
"""Told status and body of an answer; status 0: the connection ended without one."""


class Line(asyncio.Protocol):
    """One kept connection, one call at a time."""

    def __init__(self) -> None:
        self.lane: Lane | None = None
        self._transport: asyncio.Transport | None = None
        self._ended: Ended | None = None
        self._received = b""
        self._wanted = 0

    @property
    def client_port(self) -> int:
        """The caller's own port."""
        assert self._transport is not None  # noqa: S101
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def ask(self, payload: bytes, ended: Ended) -> None:
        """Send a request; nothing else is under way."""
        self._ended = ended
        if self._transport is None:
            self._end(0, b"")
        else:
            self._transport.write(payload)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        """As ``asyncio.Protocol``."""
        self._transport = transport

    def data_received(self, received: bytes) -> None:
        """Collect one whole answer."""
        self._received += received
        if not self._wanted:
            self._wanted = _length(self._received)
        if self._wanted and len(self._received) >= self._wanted:
            whole, self._received, self._wanted = self._received, b"", 0
            head = whole.index(_HEAD_END)
            self._end(int(whole[9:12]), whole[head + len(_HEAD_END) :])

    def connection_lost(self, error: Exception | None) -> None:
        """Whatever was under way has failed."""
        self._transport = None
        if self._ended is not None:
            self._end(0, b"")

    def _end(self, status: int, body: bytes) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(status, body)
        if self.lane is not None:
            self.lane.freed(self)


@dataclass(eq=False)
class Lane:
    """The connections to one worker; what finds none of them free waits its turn."""

    pid: int
    free: "deque[Line]" = field(default_factory=deque)
    waiting: "deque[tuple[bytes, Callable[[], Ended]]]" = field(default_factory=deque)

    def ask(self, payload: bytes, begun: Callable[[], Ended]) -> None:
        """Send a request as soon as a connection is free.

        Args:
            payload: its bytes.
            begun: called when it is sent; gives whom to tell of the answer.
        """
        if self.free:
            self.free.popleft().ask(payload, begun())
        else:
            self.waiting.append((payload, begun))

    def freed(self, line: Line) -> None:
        """A connection has nothing under way any more."""
        if self.waiting:
            payload, begun = self.waiting.popleft()
            line.ask(payload, begun())
        else:
            self.free.append(line)


async def open_lanes(replicas: Sequence[Replica], lines: int) -> list[Lane]:
    """Connect to every worker of every replica equally often.

    The kernel chooses the worker of a connection, so some are opened in vain and closed again.

    Args:
        replicas: that run.
        lines: per worker.

    Returns:
        One lane per worker, those of the replicas in turn.

    Raises:
        ConnectionError: when a worker is not reached often enough.
    """
    by_replica = [await _open(replica, lines) for replica in replicas]
    return [lane for lanes in zip(*by_replica, strict=True) for lane in lanes]


async def _open(replica: Replica, lines: int) -> list[Lane]:
    lanes = {pid: Lane(pid) for pid in await asyncio.to_thread(replica.workers)}
    for _ in range(MOST_TRIES):
        line = await _connected(replica.port)
        lane = lanes[await _worker_of(replica.port, line.client_port, lanes)]
        if len(lane.free) < lines:
            line.lane = lane
            lane.free.append(line)
        else:
            line.close()
        if all(len(lane.free) == lines for lane in lanes.values()):
            return list(lanes.values())
    raise ConnectionError(f"{replica.name}: not every worker was reached {lines} times")


async def _connected(port: int) -> Line:
    _, line = await asyncio.get_running_loop().create_connection(Line, HOST, port)
    return line


async def _worker_of(port: int, client_port: int, lanes: Mapping[int, Lane]) -> int:
    """The process that accepted a connection."""
    while True:
        socket = f"socket:[{_accepted(port, client_port)}]"
        for pid in lanes:
            if socket in _descriptors(pid):
                return pid
        await asyncio.sleep(0.002)  # it is not accepted yet


def _accepted(port: int, client_port: int) -> str:
    """The inode of the worker's end of a connection; "0" until it is accepted."""
    ends = (f":{port:04X}", f":{client_port:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return fields[9]
    return "0"


def _descriptors(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(entry.readlink()))
        except OSError:
            continue  # closed since
    return found


def _length(received: bytes) -> int:
    """Bytes of the whole answer; 0: its head is not whole yet."""
    end = received.find(_HEAD_END)
    if end < 0:
        return 0
    head = received[:end].lower()
    begin = head.index(_LENGTH) + len(_LENGTH)
    line_end = head.find(b"\r\n", begin)
    return end + len(_HEAD_END) + int(head[begin : line_end if line_end >= 0 else None])
