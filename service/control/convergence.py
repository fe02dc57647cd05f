"""Convergence: whether every worker of every replica has followed, and what each one says."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model.desired import Desired, Target
from service.lifecycle.states import ReplicaState, TargetState, WorkerState

TOLD = 8
"""Verdicts told in one sentence."""
NO_WORKER = -1
"""Stands for the worker in a verdict on a replica that has none."""
COMPARER = -2
"""Stands for the worker in a verdict on a shadow: the process that compares it."""


@dataclass(frozen=True)
class Verdict:
    """What one worker says of a target."""

    replica: str
    worker: int
    """Its number; -1: the replica has no worker; -2: the process that compares a shadow."""
    revision: int
    """The last revision that it has settled."""
    state: str
    """The target's state there; ``absent``: it does not hold it (yet)."""
    reason: str | None = None
    """Why it failed; None otherwise."""
    seconds: float | None = None
    """From its first step to ready."""
    bundle_digest: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the target can answer there."""
        return self.state in ("ready", "active")

    def __str__(self) -> str:
        if self.worker == NO_WORKER:
            return f"{self.replica}: {self.reason}"
        who = "the comparison" if self.worker == COMPARER else f"worker {self.worker}"
        said = f"{who} of {self.replica}: {self.state}"
        return said if self.reason is None else f"{said} ({self.reason})"


def verdicts(replicas: Iterable[ReplicaState], target: Target) -> tuple[Verdict, ...]:
    """What each worker says of a target; those that are ending are not asked.

    Args:
        replicas: the live reports.
        target: what is asked about.

    Returns:
        By replica and worker; one of its own for a replica without any worker.
    """
    said = []
    for replica in replicas:
        said += [_verdict(replica, worker, target) for worker in _asked(replica)]
        if not replica.workers:
            reason = "no worker runs; see the replica's log"
            said.append(Verdict(replica.replica, NO_WORKER, 0, "absent", reason))
    return tuple(said)


def settled(replicas: Sequence[ReplicaState], revision: int) -> bool:
    """Whether every worker has settled a revision: nothing more happens by itself."""
    workers = _all_asked(replicas)
    return bool(workers) and all(worker.revision >= revision for worker in workers)


def followed(replicas: Sequence[ReplicaState], desired: Desired) -> bool:
    """Whether every worker answers by a document's champion and canary.

    A candidate or a previous champion may load yet: an order that ends a bad version does not
    wait for the one that somebody else prepares.
    """
    canary = str(desired.canary.target) if desired.canary else None
    workers = _all_asked(replicas)
    return bool(workers) and all(
        worker.roles_revision >= desired.revision
        and worker.champion == str(desired.champion)
        and worker.canary == canary
        for worker in workers
    )


def held_contract(replicas: Iterable[ReplicaState], version: int) -> str | None:
    """The feature contract of a version that workers hold, checked; None: nobody holds it."""
    return next(
        (
            target.feature_contract
            for replica in replicas
            for worker in replica.workers
            for target in worker.targets
            if target.version == version and target.state in ("ready", "active")
        ),
        None,
    )


def digests(said: Iterable[Verdict]) -> tuple[str, ...]:
    """The different bundles that workers loaded under one target's name."""
    return tuple(sorted({one.bundle_digest for one in said if one.bundle_digest is not None}))


def summary(said: Sequence[Verdict]) -> dict[str, Any]:
    """Verdicts for the audit log, as short for a hundred workers as for one.

    Args:
        said: at least one verdict.

    Returns:
        Workers by state, the digests that they loaded, and the longest load in seconds.
    """
    return {
        "workers": dict(Counter(verdict.state for verdict in said)),
        "digests": list(digests(said)),
        "slowest_s": max((v.seconds for v in said if v.seconds is not None), default=None),
    }


def complaints(said: Sequence[Verdict]) -> str:
    """Verdicts that are not ready, in words; the first few of many."""
    behind = [str(verdict) for verdict in said if not verdict.ready]
    more = [f"and {len(behind) - TOLD} more"] if len(behind) > TOLD else []
    return "; ".join([*behind[:TOLD], *more])


def _all_asked(replicas: Sequence[ReplicaState]) -> list[WorkerState]:
    """Every worker; none where a replica has no worker, for then nobody can say it of all."""
    if not all(replica.workers for replica in replicas):
        return []
    return [worker for replica in replicas for worker in _asked(replica)]


def _asked(replica: ReplicaState) -> Iterator[WorkerState]:
    return (worker for worker in replica.workers if not worker.draining)


def _verdict(replica: ReplicaState, worker: WorkerState, target: Target) -> Verdict:
    for told in worker.targets:
        if (told.version, told.generation) == (target.version, target.generation):
            return _told(replica, worker, told)
    return Verdict(replica.replica, worker.worker, worker.revision, "absent")


def _told(replica: ReplicaState, worker: WorkerState, told: TargetState) -> Verdict:
    return Verdict(
        replica=replica.replica,
        worker=worker.worker,
        revision=worker.revision,
        state=told.state,
        reason=told.reason,
        seconds=told.seconds,
        bundle_digest=told.bundle_digest,
    )
