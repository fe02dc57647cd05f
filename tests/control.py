"""Desired states and reports for tests of whatever steers or follows them."""

from model.desired import Change, Desired, Target
from service.control.finding import Finding
from service.lifecycle.states import ReplicaState, State, TargetState, WorkerState

CHANGE = Change("first", "a test", "to begin with", 1_700_000_000.0)


def desired_state(revision: int = 1, version: int = 1, generation: str = "g1") -> Desired:
    """A document with a champion alone."""
    return Desired(revision, Target(version, generation), CHANGE, "salt")


def target_state(target: Target, state: State = "ready", reason: str | None = None) -> TargetState:
    """A target as a worker tells of it."""
    return TargetState(
        version=target.version, generation=target.generation, state=state, reason=reason
    )


def worker_state(
    number: int = 0,
    revision: int = 1,
    champion: Target | None = None,
    targets: tuple[TargetState, ...] = (),
    *,
    draining: bool = False,
) -> WorkerState:
    """A worker that has settled a revision."""
    return WorkerState(
        worker=number,
        pid=1000 + number,
        revision=revision,
        roles_revision=revision,
        ready=champion is not None,
        draining=draining,
        champion=None if champion is None else str(champion),
        targets=targets,
    )


def replica_state(
    name: str = "r1", revision: int = 1, workers: tuple[WorkerState, ...] = ()
) -> ReplicaState:
    """A replica's report."""
    return ReplicaState(replica=name, host="host", when_s=1.0, revision=revision, workers=workers)


class NoGuards:
    """Finds nothing wrong with anything."""

    async def judge_promotion(self, present: Desired, candidate: Target) -> Finding:
        """As ``Guards.judge_promotion``: an empty finding."""
        return Finding()
