"""The control plane of one replica: its parts wired, and what stands where, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from model.desired import Desired
from model.repository import Repository
from service.control.agreement import Agreement
from service.control.convergence import followed
from service.control.finding import Guards
from service.control.local_copy import LocalCopy
from service.control.open_state import open_state
from service.control.operator import Operator
from service.control.orders import roles
from service.control.state_store import StateStore
from service.control.targets import Targets
from service.control.watch import Beginning, Identity, Watch
from service.errors import StateUnavailable
from service.features.store import FeatureStore
from service.settings import Settings
from service.supervisor.fleet import Fleet


@dataclass(frozen=True, eq=False)
class ControlPlane:
    """What the supervisor runs, and what the admin API asks."""

    store: StateStore
    watch: Watch
    agreement: Agreement
    operator: Operator

    async def status(self) -> dict[str, Any]:
        """What stands where: JSON of the desired state and of every replica.

        Without the state store, what this replica knows of itself.
        """
        try:
            desired, replicas = await self.store.read(), await self.agreement.replicas()
            trouble = self.watch.trouble
        except StateUnavailable as error:
            desired, replicas, trouble = self.watch.known, [self.watch.state()], error.detail
        return {
            "trouble": trouble,
            "replica": self.watch.identity.replica,
            "converged": desired is not None and followed(replicas, desired),
            "desired": None if desired is None else msgspec.to_builtins(desired),
            "roles": None if desired is None else roles(desired),
            "replicas": msgspec.to_builtins(replicas),
        }

    async def history(self, limit: int) -> Sequence[Desired]:
        """The last revisions, newest first.

        Raises:
            StateUnavailable: when the state store cannot be read.
        """
        return await self.store.history(limit)


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
    return ControlPlane(store, watch, agreement, Operator(agreement, targets, guards))
