"""The control plane of one replica: its parts wired, and what stands where, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from model.desired import Desired
from model.repository import Repository
from service.control.agreement import Agreement
from service.control.bundle_parts import BundleParts
from service.control.comparisons import compared, shadow_verdicts
from service.control.convergence import Verdict, followed
from service.control.finding import Guards
from service.control.guards import Limits
from service.control.judge import WHO, Judge
from service.control.local_copy import LocalCopy
from service.control.open_state import open_state
from service.control.operator import Operator
from service.control.orders import roles
from service.control.state_store import StateStore
from service.control.targets import Targets
from service.control.watch import Beginning, Identity, Watch
from service.errors import StateUnavailable
from service.features.store import FeatureStore
from service.lifecycle.states import ReplicaState
from service.settings import Settings
from service.supervisor.fleet import Fleet


@dataclass(frozen=True, eq=False)
class ControlPlane:
    """What the supervisor runs, and what the admin API asks."""

    store: StateStore
    watch: Watch
    agreement: Agreement
    operator: Operator
    judge: Judge

    async def status(self) -> dict[str, Any]:
        """What stands where: JSON of the desired state and of every replica.

        Without the state store, what this replica knows of itself.
        """
        known = self.watch.known
        try:
            desired, replicas = await self.store.read(), await self.agreement.replicas()
            trouble = self.watch.trouble
            if known is not None and (desired is None or desired.revision < known.revision):
                desired = known
                trouble = f"the state store has lost revision {known.revision}; it is put back"
        except StateUnavailable as error:
            desired, replicas, trouble = known, [self.watch.state()], error.detail
        return {
            "trouble": trouble,
            "warnings": self.warnings(),
            "replica": self.watch.identity.replica,
            "converged": desired is not None and followed(replicas, desired),
            "desired": None if desired is None else msgspec.to_builtins(desired),
            "roles": None if desired is None else roles(desired),
            "shadow": msgspec.to_builtins(_shadow(desired, replicas)),
            "replicas": msgspec.to_builtins(replicas),
        }

    def warnings(self) -> list[str]:
        """What an operator would want to know beside any answer."""
        return [
            f"replica {name} has not reported for {silent_s:.0f} s; nobody waits for it, and its "
            "workers may answer as before"
            for name, silent_s in self.watch.roll.silent().items()
        ]

    async def comparison(self) -> dict[str, Any]:
        """What canary and shadow would change, as all replicas have found it, and the guard's view.

        Raises:
            StateUnavailable: when the reports cannot be read.
        """
        replicas = await self.agreement.replicas()
        judging = [replica.findings[WHO] for replica in replicas if WHO in replica.findings]
        return {"comparisons": compared(replicas), "guard": judging[0] if judging else None}

    async def history(self, limit: int) -> Sequence[Desired]:
        """The last revisions, newest first.

        Raises:
            StateUnavailable: when the state store cannot be read.
        """
        return await self.store.history(limit)


def _shadow(desired: Desired | None, replicas: Sequence[ReplicaState]) -> tuple[Verdict, ...]:
    if desired is None or desired.shadow is None:
        return ()
    return shadow_verdicts(replicas, desired.shadow)


def open_plane(
    settings: Settings, fleet: Fleet, features: FeatureStore, guards: Guards, identity: Identity
) -> ControlPlane:
    """Wire a replica's control plane; nothing is connected yet.

    Args:
        settings: where the state, the bundles and the private store stand.
        fleet: the replica's workers.
        features: holds the generations.
        guards: judge promotions.
        identity: of the replica.

    Returns:
        The plane; run its watch, and close its store at the end.

    Raises:
        ValueError: when the place of the state is none.
    """
    place = settings.state or settings.redis_url
    store = open_state(place)
    targets = Targets(Repository(settings.repository), features)
    beginning = Beginning(
        lambda: targets.choose(settings.model_version, settings.generation),
        settings.model_version,
    )
    watch = Watch(store, fleet, LocalCopy(settings.store, place), beginning, identity)
    agreement = Agreement(store, watch)
    judge = Judge(
        store,
        agreement,
        watch,
        BundleParts(Repository(settings.repository), settings.store),
        limits_of(settings),
        settings.guard_window_s,
    )
    watch.findings = judge.findings
    operator = Operator(agreement, targets, guards)
    return ControlPlane(store, watch, agreement, operator, judge)


def limits_of(settings: Settings) -> Limits:
    """From where on the guard of a canary calls something a fault."""
    return Limits(
        calls=settings.guard_calls,
        answers=settings.guard_answers,
        error_excess=settings.guard_error_excess,
        p99_ratio=settings.guard_p99_ratio,
        stability=settings.guard_stability,
    )
