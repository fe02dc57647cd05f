"""Callers: requests at times that were fixed before, whatever becomes of the answers."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from loadtests.swaps.fingerprints import Fingerprints
from loadtests.swaps.lanes import Ended, Lane
from model.desired import Target

LAST_S = 30.0
"""For answers that are still awaited when a run ends."""
OVERDUE_S = 10.0
"""An answer later than this after its planned time is a failure: nobody waits any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or why there is none."""

    planned_s: float
    """When the request was due; this and the others on the monotonic clock."""
    sent_s: float
    ended_s: float
    pid: int
    """Of the worker; 0: the run ended without an answer."""
    target: Target | None
    """Who says that it answered."""
    fault: str | None
    mixed: bool
    degraded: bool

    @property
    def right(self) -> bool:
        """Whether it is the whole answer of the target that it names."""
        return self.fault is None and not self.degraded

    @property
    def latency_s(self) -> float:
        """From the moment at which it was due, so that waiting for a connection counts."""
        return self.ended_s - self.planned_s


class Callers:
    """Sends requests over lanes, each worker in turn, and judges every answer."""

    def __init__(self, lanes: Sequence[Lane], fingerprints: Fingerprints, seed: int) -> None:
        """Begin with nothing sent.

        Args:
            lanes: of every worker.
            fingerprints: the requests, and what must be answered.
            seed: of arrival times and requests.
        """
        self._lanes = cycle(lanes)
        self._workers = len(lanes)
        self._all_lanes = tuple(lanes)
        self._fingerprints = fingerprints
        self._chance = random.Random(seed)
        self._open = 0
        self.answers: list[Answer] = []

    async def offer(self, rate: float, stop: asyncio.Event) -> None:
        """Send requests as a Poisson process until told to stop, then wait for the last answers.

        Args:
            rate: requests per second, of all workers together.
            stop: ends it.
        """
        due_s = time.monotonic()
        while not stop.is_set():
            while due_s <= time.monotonic():
                self._ask(next(self._lanes), due_s)
                due_s += self._chance.expovariate(rate)
            await asyncio.sleep(max(due_s - time.monotonic(), 0.0))
        await self._last_answers()

    async def saturate(self, at_once: int, seconds: float) -> float:
        """Keep every worker busy.

        Args:
            at_once: requests under way per worker.
            seconds: how long.

        Returns:
            Answers per second: the capacity.
        """
        end_s, before = time.monotonic() + seconds, len(self.answers)

        def again(lane: Lane) -> None:
            if (now_s := time.monotonic()) < end_s:
                self._ask(lane, now_s, again)

        for lane in self._all_lanes:
            for _ in range(at_once):
                again(lane)
        await asyncio.sleep(seconds)
        rate = (len(self.answers) - before) / seconds
        await self._last_answers()
        return rate

    def _ask(
        self, lane: Lane, planned_s: float, then: Callable[[Lane], None] | None = None
    ) -> None:
        template = self._chance.randrange(len(self._fingerprints.templates))
        self._open += 1
        call = _Call(self, lane, template, planned_s, then)
        lane.ask(self._fingerprints.templates[template].payload, call.begun)

    def judged(self, call: "_Call", status: int, body: bytes) -> None:
        """Note an answer; for calls alone."""
        ended_s = time.monotonic()
        judged = self._fingerprints.judge(call.template, status, body)
        fault = judged.fault
        if fault is None and ended_s - call.planned_s > OVERDUE_S:
            fault = f"answered after more than {OVERDUE_S:g} s"
        self.answers.append(
            Answer(
                planned_s=call.planned_s,
                sent_s=call.sent_s,
                ended_s=ended_s,
                pid=call.lane.pid,
                target=judged.target,
                fault=fault,
                mixed=judged.mixed,
                degraded=judged.degraded,
            )
        )
        self._open -= 1

    async def _last_answers(self) -> None:
        give_up_s = time.monotonic() + LAST_S
        while self._open and time.monotonic() < give_up_s:
            await asyncio.sleep(0.01)
        now_s = time.monotonic()
        missing = Answer(now_s, now_s, now_s, 0, None, "no answer", mixed=False, degraded=False)
        self.answers += [missing] * self._open
        self._open = 0


@dataclass(slots=True)
class _Call:
    """A request under way."""

    callers: Callers
    lane: Lane
    template: int
    planned_s: float
    then: Callable[[Lane], None] | None
    sent_s: float = 0.0

    def begun(self) -> Ended:
        """It is sent now."""
        self.sent_s = time.monotonic()
        return self.ended

    def ended(self, status: int, body: bytes) -> None:
        """Its answer is there."""
        self.callers.judged(self, status, body)
        if self.then is not None:
            self.then(self.lane)
