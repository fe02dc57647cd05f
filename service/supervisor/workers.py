"""The workers of one replica as real processes, and siblings beside them."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from model.desired import Desired
from service.lifecycle.states import WorkerState
from service.supervisor.child import Spawn, spawner
from service.supervisor.exposition import MergedExposition
from service.supervisor.keeper import Keeper, Patience
from service.supervisor.messages import Bootstrap, Findings, Follow, Listen, StateReport
from service.supervisor.pace import Pace
from service.supervisor.replica_metrics import ReplicaMetrics

SCRAPE_S = 1.0
"""For a worker to say its metrics; others wait no longer for it."""
SIBLING_END_S = 5.0
"""For a sibling that is no longer wanted to end."""

_log = logging.getLogger("choirrec")


@dataclass(frozen=True)
class _Command:
    """What a sibling runs."""

    module: str
    environment: Mapping[str, str]


class Workers:
    """Keeps workers and siblings, and passes on what they say: the ``Fleet`` of a replica.

    Every method belongs to the event loop's thread.
    """

    def __init__(
        self, spawns: Sequence[Spawn], pace: Pace | None = None, patience: Patience | None = None
    ) -> None:
        """Make workers, none of which runs yet.

        Args:
            spawns: how to start each of them.
            pace: of respawning.
            patience: with silence.
        """
        self.draining = False
        self.started = False
        """Whether a worker has been ready since the beginning."""
        self.in_trouble: Callable[[], bool] = lambda: False
        """Whether the desired state cannot be followed; set by whoever watches it."""
        self._pace = pace or Pace()
        self._patience = patience or Patience()
        self._metrics = ReplicaMetrics()
        self._workers = {str(n): self._keeper(str(n), spawn) for n, spawn in enumerate(spawns)}
        self._siblings: dict[str, Keeper] = {}
        self._commands: dict[str, _Command] = {}
        self._findings: dict[str, bytes] = {}
        self._states: dict[str, WorkerState] = {}
        self._early: set[str] = set()
        """Workers that listen although they are not ready, since no other was."""
        self._running: set[asyncio.Task[None]] = set()
        self._order: Bootstrap | Follow | None = None
        self._revision = 0
        self._change = asyncio.Event()

    def bootstrap(self, version: int | None) -> None:
        """Tell workers what to serve until a desired state is pushed."""
        if self._revision == 0:
            self._tell(Bootstrap(version))

    def push(self, desired: Desired) -> None:
        """Tell every process the desired state; an older revision than the last is passed over."""
        if desired.revision > self._revision:
            self._revision = desired.revision
            self._tell(Follow.of(desired))

    def states(self) -> Sequence[WorkerState]:
        """What each worker that is alive said last, by its number."""
        return [
            self._states.get(name) or _silent(name, keeper.pid)
            for name, keeper in self._workers.items()
            if keeper.pid is not None
        ]

    async def changed(self) -> None:
        """Return at the next change of a state, or when a process begins or ends."""
        await self._change.wait()

    async def metrics(self) -> bytes:
        """Every process's metrics under the label ``worker``, and the supervisor's own."""
        keepers = (*self._workers.values(), *self._siblings.values())
        texts = await asyncio.gather(*(keeper.exposition(SCRAPE_S) for keeper in keepers))
        merged = MergedExposition()
        merged.add(self._own_metrics())
        for keeper, text in zip(keepers, texts, strict=True):
            if text is not None:
                merged.add(text, keeper.name)
        return merged.text()

    @property
    def ready(self) -> bool:
        """Whether whoever calls is answered by a worker that welcomes requests.

        One of them is enough, but none that listens may have to refuse; a worker that keeps
        ending does not count.
        """
        return not self.draining and bool(self._ready()) and not self._early

    def obstacle(self) -> str:
        """Why it is not ready, in words for an operator."""
        if self.draining:
            return "the service is draining and takes no new callers"
        return "; ".join(self._obstacles()) or "no worker is alive"

    def want(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        """Keep a sibling running; it is told what workers are told.

        Args:
            name: of the sibling, and its label ``worker`` in metrics.
            module: run as ``python -m module --channel FD``.
            environment: variables beside this process's own; others than before respawn it.
        """
        command = _Command(module, dict(environment))
        if self.draining or self._commands.get(name) == command:
            return
        self.dismiss(name)
        keeper = self._keeper(name, spawner(module, (), environment))
        self._commands[name], self._siblings[name] = command, keeper
        self._start(keeper)

    def dismiss(self, name: str) -> None:
        """End a sibling; nothing happens when there is none of that name."""
        self._commands.pop(name, None)
        self._findings.pop(name, None)
        keeper = self._siblings.pop(name, None)
        if keeper is not None:
            keeper.hang_up(SIBLING_END_S)

    def findings(self, name: str) -> bytes | None:
        """The JSON that a sibling said last; None: nothing yet."""
        return self._findings.get(name)

    def note_rollback(self, reasons: Iterable[str]) -> None:
        """Count a canary that a guard of this replica rolled back, by its faults."""
        for reason in set(reasons):
            self._metrics.rollbacks[reason] += 1

    async def run(self) -> None:
        """Run every worker until ``drain`` or ``hang_up`` has ended them; killed when cancelled.

        Raises:
            Exception: when a keeper fails, which is a mistake of this program.
        """
        for keeper in self._workers.values():
            self._start(keeper)
        try:
            while self._running:
                done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                self._running -= done
                for task in done:
                    task.result()
        finally:
            await _cancelled(self._running)

    def drain(self, limit_s: float) -> None:
        """Let workers say they are not ready, answer for a while, and end.

        Args:
            limit_s: when those are killed that are still there.
        """
        self._let_siblings_go()
        for keeper in self._workers.values():
            keeper.drain(limit_s)

    def hang_up(self, limit_s: float) -> None:
        """Let workers end after what they are answering now; as ``drain`` else."""
        self._let_siblings_go()
        for keeper in self._workers.values():
            keeper.hang_up(limit_s)

    def greet(self, keeper: Keeper) -> None:
        """A process has been spawned: it is told what the others were told."""
        if self._order is not None:
            keeper.tell(self._order)
        self._let_listen()
        self._changes()

    def heard(self, keeper: Keeper, report: StateReport | Findings) -> None:
        """A process has reported."""
        if isinstance(report, Findings):
            if self._siblings.get(keeper.name) is keeper:
                self._findings[keeper.name] = bytes(report.document)
        elif keeper.name in self._workers:
            before = self._states.get(keeper.name)
            self._states[keeper.name] = report.state
            self._note_readiness(keeper.name, ready=report.state.ready)
            if before is None or _essence(report.state) != _essence(before):
                self._changes()

    def ended(self, keeper: Keeper, reason: str | None) -> None:
        """A process has ended."""
        if reason is not None:
            self._metrics.ends[reason] += 1
        if keeper.name in self._workers:
            self._states.pop(keeper.name, None)
            self._early.discard(keeper.name)
            self._let_listen()
            self._changes()

    def _note_readiness(self, name: str, *, ready: bool) -> None:
        if ready:
            self.started = True
            self._early.discard(name)

    def _let_listen(self) -> None:
        """Where no worker is ready, let all say so, rather than refuse connections."""
        if self.draining or any(state.ready for state in self._states.values()):
            return
        for name, keeper in self._workers.items():
            if keeper.pid is not None and name not in self._early:
                self._early.add(name)
                keeper.tell(Listen())

    def _keeper(self, name: str, spawn: Spawn) -> Keeper:
        return Keeper(name, spawn, self, self._pace, self._patience)

    def _start(self, keeper: Keeper) -> None:
        self._running.add(asyncio.create_task(keeper.keep()))

    def _tell(self, order: Bootstrap | Follow) -> None:
        self._order = order
        for keeper in (*self._workers.values(), *self._siblings.values()):
            keeper.tell(order)

    def _let_siblings_go(self) -> None:
        self.draining = True
        for name in list(self._siblings):
            self.dismiss(name)

    def _changes(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _ready(self) -> list[str]:
        return [
            name
            for name, state in self._states.items()
            if state.ready and not self._workers[name].looping
        ]

    def _obstacles(self) -> Iterable[str]:
        for name, keeper in self._workers.items():
            state = self._states.get(name)
            if keeper.looping:
                yield f"worker {name} keeps ending; its log says why"
            elif state is None:
                yield f"worker {name} is starting"
            else:
                failed = [t for t in state.targets if t.reason is not None]
                reasons = [f"{t.name}: {t.reason}" for t in failed]
                yield f"worker {name} serves nothing yet: {', '.join(reasons) or 'loading'}"

    def _own_metrics(self) -> str:
        states = self.states()
        return self._metrics.exposition(
            {
                "workers": len(self._workers),
                "workers_alive": len(states),
                "workers_ready": len(self._ready()),
                "workers_looping": sum(keeper.looping for keeper in self._workers.values()),
                "desired_revision": self._revision,
                "settled_revision": min((state.revision for state in states), default=0),
                "state_trouble": float(self.in_trouble()),
            }
        )


def _silent(name: str, pid: int) -> WorkerState:
    return WorkerState(worker=int(name), pid=pid, revision=0, ready=False)


def _essence(state: WorkerState) -> WorkerState:
    """A state without what changes with every request."""
    targets = tuple(msgspec.structs.replace(target, leases=0) for target in state.targets)
    return msgspec.structs.replace(state, counts={}, targets=targets)


async def _cancelled(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
