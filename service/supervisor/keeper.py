"""The keeper: one process kept running, heard and told, whatever ends it."""

import asyncio
import contextlib
import logging
import socket
import time
from dataclasses import dataclass
from typing import Protocol

import msgspec

from service.supervisor.channel import Channel, open_channel
from service.supervisor.child import Child, Spawn
from service.supervisor.messages import (
    AskMetrics,
    Drain,
    Exposition,
    Findings,
    Order,
    StateReport,
    read_report,
)
from service.supervisor.pace import Pace

BEAT_S = 1.0
"""Between signs of life."""
_LAST_WORDS_S = 2.0
"""For a process whose channel has ended to end itself."""

_log = logging.getLogger("choirrec")


@dataclass(frozen=True)
class Patience:
    """How long a process may be silent before it counts as hung; in beats of a second."""

    first_beats: int = 120
    """Until its first word: it imports its code."""
    beats: int = 15
    """Between two words."""


class Owner(Protocol):
    """Whom a keeper tells what happens."""

    def greet(self, keeper: "Keeper") -> None:
        """A process has been spawned: tell it what to do."""
        ...

    def heard(self, keeper: "Keeper", report: StateReport | Findings) -> None:
        """It has reported."""
        ...

    def ended(self, keeper: "Keeper", reason: str | None) -> None:
        """It has ended: by ``exit``, by ``signal`` or as ``hung``; None: as it was told to."""
        ...


class Keeper:
    """Spawns a process, and again whenever it has ended, until told to stop."""

    def __init__(
        self, name: str, spawn: Spawn, owner: Owner, pace: Pace, patience: Patience
    ) -> None:
        """Make a keeper of nothing yet.

        Args:
            name: of the process, in the log and as the label ``worker``.
            spawn: starts it.
            owner: told what happens.
            pace: of respawning.
            patience: with silence.
        """
        self.name = name
        self.pid: int | None = None
        """Of the process that runs now; None between two."""
        self._spawn = spawn
        self._owner = owner
        self._pace = pace
        self._patience = patience
        self._child: Child | None = None
        self._channel: Channel | None = None
        self._ends = 0
        self._began_s = 0.0
        self._silence = 0
        self._silence_limit = 0
        self._hung = False
        self._stopping = asyncio.Event()
        self._questions: dict[int, asyncio.Future[str]] = {}
        self._asked = 0

    @property
    def looping(self) -> bool:
        """Whether it keeps ending: not one of its last lives was a steady one."""
        steady = self.pid is not None and self._lived_s() >= self._pace.steady_s
        return self._pace.looping(self._ends) and not steady

    def tell(self, order: Order) -> None:
        """Send an order; a process that is not there, or does not read, misses it."""
        if self._channel is not None:
            self._channel.send(order)

    async def exposition(self, timeout_s: float) -> str | None:
        """Its metrics; None: it did not answer in time."""
        self._asked += 1
        question = self._asked
        answer = self._questions[question] = asyncio.get_running_loop().create_future()
        try:
            if self._channel is None or not self._channel.send(AskMetrics(question)):
                return None
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            return None
        finally:
            self._questions.pop(question, None)

    def drain(self, limit_s: float) -> None:
        """Let it answer for a while and end; none follows.

        Args:
            limit_s: when it is killed if it is still there.
        """
        self.tell(Drain())
        self._stop(limit_s)

    def hang_up(self, limit_s: float) -> None:
        """End its channel, which ends it after what it is answering now; as ``drain`` else."""
        if self._channel is not None:
            self._channel.finish()
        self._stop(limit_s)

    async def keep(self) -> None:
        """Spawn and respawn until it is drained or hung up on; killed when cancelled."""
        while not self._stopping.is_set():
            reason = await self._live()
            self._owner.ended(self, None if self._stopping.is_set() else reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._pace.delay_s(self._ends))

    async def _live(self) -> str:
        """One life, from its spawning to its end; how it ended."""
        self._began_s = time.monotonic()
        self._silence, self._silence_limit, self._hung = 0, self._patience.first_beats, False
        try:
            child, end = self._begin()
        except OSError as error:
            return self._ended("exit", f"could not be started: {error}")
        self._child, self._channel = child, await open_channel(end)
        self.pid = child.pid
        watch = asyncio.create_task(self._watch(child))
        try:
            self._owner.greet(self)
            if self._stopping.is_set():
                self._channel.finish()
            await self._listen(self._channel)
            code = await _end_of(child)
        finally:
            watch.cancel()
            child.kill()
            self._channel.close()
            self._child, self._channel, self.pid = None, None, None
        return self._ended(*self._verdict(code))

    def _begin(self) -> tuple[Child, socket.socket]:
        ours, theirs = socket.socketpair()
        try:
            return self._spawn(theirs), ours
        except OSError:
            ours.close()
            raise

    async def _listen(self, channel: Channel) -> None:
        while (line := await channel.receive()) is not None:
            try:
                report = read_report(line)
            except msgspec.DecodeError as error:
                _log.error("worker %s says %.80r, which is no report: %s", self.name, line, error)
                return
            self._silence, self._silence_limit = 0, self._patience.beats
            if isinstance(report, Exposition):
                self._answered(report)
            else:
                self._owner.heard(self, report)

    async def _watch(self, child: Child) -> None:
        """Kill it when it has been silent for too long.

        Beats are counted, not seconds: when this process itself was suspended, nobody is to blame.
        """
        while self._silence < self._silence_limit:
            await asyncio.sleep(BEAT_S)
            self._silence += 1
        self._hung = True
        child.kill()

    def _answered(self, exposition: Exposition) -> None:
        question = self._questions.get(exposition.id)
        if question is not None and not question.done():
            question.set_result(exposition.text)

    def _stop(self, limit_s: float) -> None:
        self._stopping.set()
        asyncio.get_running_loop().call_later(limit_s, self._kill)

    def _kill(self) -> None:
        if self._child is not None:
            _log.warning("worker %s has not ended and is killed", self.name)
            self._child.kill()

    def _verdict(self, code: int) -> tuple[str, str]:
        if self._hung:
            return "hung", f"was silent for {self._silence * BEAT_S:g} s and was killed"
        if code < 0:
            return "signal", f"ended by signal {-code}"
        return "exit", f"ended with exit code {code}"

    def _ended(self, reason: str, words: str) -> str:
        self._ends = self._pace.ends(self._ends, self._lived_s())
        if self._stopping.is_set():
            _log.info("worker %s %s", self.name, words)
            return reason
        wait_s = self._pace.delay_s(self._ends)
        _log.warning("worker %s %s; spawned again in %.1f s", self.name, words, wait_s)
        if self.looping:
            _log.error("worker %s has ended %d times in a row", self.name, self._ends)
        return reason

    def _lived_s(self) -> float:
        return time.monotonic() - self._began_s


async def _end_of(child: Child) -> int:
    """The exit code of a child whose channel has ended, killed when it does not end itself."""
    ending = asyncio.ensure_future(child.ended())
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(asyncio.shield(ending), _LAST_WORDS_S)
    child.kill()
    return await ending
