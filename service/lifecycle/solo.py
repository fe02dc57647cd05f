"""A process on its own: it makes its own desired state, from its settings and from orders."""

import asyncio
import logging
import time
from dataclasses import dataclass, replace

from model.desired import Change, Desired, Target
from model.repository import Repository
from service.errors import LoadError, LoadInProgress, LoadRefused
from service.features.store import FeatureStore, StoreUnavailable
from service.lifecycle.generations import choose_generation
from service.lifecycle.lifecycle import Lifecycle
from service.lifecycle.loading import BundleLoader
from service.lifecycle.residents import RETRY_S
from service.lifecycle.served_model import ServedModel
from service.lifecycle.states import TargetState
from service.metrics import Metrics
from service.settings import Settings

_log = logging.getLogger("choirrec")


@dataclass(frozen=True)
class Verdict:
    """How a load ended."""

    version: int
    generation: str
    bundle_digest: str
    feature_contract: str
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Where the last load stands."""

    state: str
    version: int | None
    generation: str | None
    reason: str | None


class Solo(Lifecycle):
    """A lifecycle that takes orders directly."""

    def __init__(
        self, settings: Settings, loader: BundleLoader, store: FeatureStore, metrics: Metrics
    ) -> None:
        super().__init__(settings, loader, store, metrics)
        self._settings = settings
        self._solo_loader = loader
        self._busy = False
        self._beginning: asyncio.Task[None] | None = None
        self.progress = Progress("starting", settings.model_version, settings.generation, None)

    @property
    def champion(self) -> ServedModel | None:
        """What answers."""
        return self._roles.champion

    def start(self) -> None:
        """As ``Lifecycle.start``, and load what the settings name."""
        super().start()
        self._beginning = asyncio.create_task(self._begin())

    async def stop(self) -> None:
        """As ``Lifecycle.stop``."""
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.gather(self._beginning, return_exceptions=True)
        await super().stop()

    async def load(self, version: int | None, generation: str | None) -> Verdict:
        """Load a version with a generation and swap to it."""
        if self._busy:
            raise LoadInProgress("another load is under way; wait for its verdict")
        self._busy = True
        began_s = time.monotonic()
        self.progress = Progress("fetching", version, generation, None)
        try:
            served = await self._load(version, generation)
        except LoadError as error:
            self.progress = Progress("failed", version, generation, error.detail)
            raise
        finally:
            self._busy = False
        self.progress = Progress("active", served.version, served.generation_name, None)
        return Verdict(
            served.version,
            served.generation_name,
            served.bundle_digest,
            served.feature_contract,
            time.monotonic() - began_s,
        )

    async def _load(self, version: int | None, generation: str | None) -> ServedModel:
        if version is None:
            version = await asyncio.to_thread(self._solo_loader.newest_version)
        target = Target(version, await self._fitting(version, generation))
        desired = self._wish.desired if self._wish else None
        if desired is not None:
            await self._reached(self._next(desired.champion, target))
            found = next(t for t in self.state().targets if _is(t, target))
            if found.state == "failed":
                await self._reached(self._next(desired.champion, None))
                raise LoadRefused(found.reason or "")
        await self._reached(self._next(target, None))
        served = self._roles.champion
        if served is None or served.version != version:
            raise LoadRefused(self.trouble)
        return served

    def _next(self, champion: Target, candidate: Target | None) -> Desired:
        before = self._wish.desired if self._wish else None
        revision = before.revision + 1 if before else 1
        change = Change("load", "here", "an order", time.time())
        fresh = Desired(revision, champion, change, salt="solo", candidate=candidate)
        return fresh if candidate != champion else replace(fresh, candidate=None)

    async def _reached(self, desired: Desired) -> None:
        self.reconcile(desired)
        while self._settled < desired.revision:
            await asyncio.sleep(0.01)

    async def _fitting(self, version: int, name: str | None) -> str:
        try:
            repository = Repository(self._settings.repository)
            manifest = await asyncio.to_thread(repository.manifest, version)
            contract = manifest.feature_contract
            return (await choose_generation(self._store, contract, name)).name
        except (LookupError, ValueError, OSError, StoreUnavailable) as error:
            raise LoadRefused(str(error)) from error

    async def _begin(self) -> None:
        while self._wish is None or self._wish.desired is None:
            try:
                await self.load(self._settings.model_version, self._settings.generation)
            except LoadError as error:
                _log.debug("not serving in full yet: %s", error.detail)
                self.bootstrap(self._settings.model_version)
                await asyncio.sleep(RETRY_S)


def _is(state: TargetState, target: Target) -> bool:
    return (state.version, state.generation) == (target.version, target.generation)
