"""The fleet: the workers of one replica, as those who steer and watch them see it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from model.desired import Desired
from service.lifecycle.states import WorkerState


class Fleet(Protocol):
    """The workers of one replica. Every method belongs to the event loop's thread."""

    def bootstrap(self, version: int | None) -> None:
        """Tell workers what to serve by its prior snapshot until a desired state is pushed.

        Args:
            version: the model version; None: the newest one.
        """
        ...

    def push(self, desired: Desired) -> None:
        """Tell every worker the desired state, and each one that is spawned later.

        Args:
            desired: the newest document; the same or an older revision changes nothing.
        """
        ...

    def states(self) -> Sequence[WorkerState]:
        """What each worker that is alive said last, by its number.

        A worker that has not yet spoken stands here with revision 0, not ready, without targets.
        """
        ...

    async def changed(self) -> None:
        """Return at the next change of any worker's state, or when a worker begins or ends.

        Counts and leases alone are no change. Several may wait at once. What changes between
        two calls is not told: look at ``states`` in between.
        """
        ...

    async def metrics(self) -> bytes:
        """The workers' metrics and the supervisor's in Prometheus' text format.

        Every series of a worker bears the label ``worker``. A worker that does not answer in time
        is left out.
        """
        ...


class Siblings(Protocol):
    """Processes beside the workers that answer nobody, such as the one that compares."""

    def want(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        """Keep a sibling running, and tell it what workers are told; the same wish twice is one.

        Args:
            name: of the sibling, and its label ``worker`` in metrics.
            module: run as ``python -m module --channel FD``. It says ``Findings`` once a second,
                answers ``AskMetrics``, and ends when its channel does.
            environment: variables beside this process's own; others than before respawn it.
        """
        ...

    def dismiss(self, name: str) -> None:
        """End a sibling; nothing happens when there is none of that name."""
        ...

    def findings(self, name: str) -> bytes | None:
        """The JSON document that a sibling said last; None: nothing yet."""
        ...
