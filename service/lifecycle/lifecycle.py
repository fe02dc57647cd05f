"""The lifecycle: a worker makes what it holds and what answers equal to the desired state."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from model.desired import Desired
from service.errors import NotReady
from service.features.store import FeatureStore
from service.lifecycle.background import Background
from service.lifecycle.holding import Holding, Order
from service.lifecycle.joining import Joiner
from service.lifecycle.loading import BundleLoader
from service.lifecycle.model_names import model_names
from service.lifecycle.one_load import OneLoad
from service.lifecycle.residents import RETRY_S, Key, Resident
from service.lifecycle.roles import Roles
from service.lifecycle.served_model import ServedModel
from service.lifecycle.states import WorkerState
from service.metrics import Metrics
from service.settings import Settings

_log = logging.getLogger("choirrec")


@dataclass(frozen=True, eq=False)
class _Wish:
    """What is to be held."""

    keys: tuple[Key, ...]
    """The champion first."""
    desired: Desired | None
    version: int | None = None
    """What to serve while no desired state is known; None: the newest."""

    @property
    def revision(self) -> int:
        return self.desired.revision if self.desired else 0


class Lifecycle:
    """Steers what one worker holds. Every method belongs to the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        loader: BundleLoader,
        store: FeatureStore,
        metrics: Metrics,
        worker: int = 0,
    ) -> None:
        """Begin with nothing.

        Args:
            settings: the budget of reads and the size of caches.
            loader: loads bundles.
            store: holds the generations.
            metrics: counts loads and names the models.
            worker: the number of this worker.
        """
        self._store = store
        self._metrics = metrics
        self._worker = worker
        joiner = Joiner(store, settings, metrics)
        self._holding = Holding(loader, joiner, Background(), metrics, self._changed)
        self._roles = Roles()
        self._wish: _Wish | None = None
        self._settled = self._roles_revision = 0
        self._draining = False
        self._listeners: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._loading = OneLoad(self._wake)

    @property
    def roles(self) -> Roles:
        """Who answers now."""
        return self._roles

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome: a champion is active, checked, and not draining."""
        return self._roles.champion is not None and not self._draining

    @property
    def draining(self) -> bool:
        """Whether the worker is about to end and takes no new callers."""
        return self._draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._draining = draining
        self._changed()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call somebody whenever ``state`` says something new, counts and leases apart."""
        self._listeners.append(listener)

    def current(self, user_id: str, *, tester: bool = False) -> ServedModel:
        """The model that answers a user, to be leased at once by ``with``.

        Args:
            user_id: as in the request.
            tester: whether the caller asks for the canary.

        Raises:
            NotReady: when there is no champion yet.
        """
        served = self._roles.choose(user_id, tester=tester)
        if served is None:
            raise NotReady(f"no model is active yet: {self.trouble}")
        return served

    @property
    def trouble(self) -> str:
        """Why there is no champion yet."""
        residents = [resident for _, resident in self._holding.residents]
        reasons = [resident.reason for resident in residents if resident.reason]
        states = [f"state {resident.state}" for resident in residents]
        return next(iter(reasons + states), "state starting")

    def bootstrap(self, version: int | None) -> None:
        """Serve a version by its prior snapshot until a desired state is known.

        Args:
            version: the model version; None: the newest one. Once a desired state is known,
                this means nothing.
        """
        if self._wish is None or self._wish.desired is None:
            self._follow(_Wish((None,), None, version))

    def reconcile(self, desired: Desired) -> None:
        """Make what is held and what answers equal to a desired state, as soon as possible.

        The newest document wins; one that is given again, or an older one, changes nothing.

        Args:
            desired: the document.
        """
        known = self._wish.desired if self._wish else None
        if known is not None and (desired.revision < known.revision or desired == known):
            return
        self._follow(_Wish(desired.resident, desired))

    def start(self) -> None:
        """Begin to follow what is wished."""
        self._keeper = asyncio.create_task(self._keep_following())

    async def stop(self) -> None:
        """Follow no more, let every model go and close the store."""
        self._wish = None  # a load under way ends at its next step
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._loading.stop()
        await self._holding.stop()
        await self._store.close()

    def state(self) -> WorkerState:
        """What this worker holds, and what it has answered."""
        names = {r.served: f"{r.version}/{r.generation}" for _, r in self._holding.residents}
        return WorkerState(
            worker=self._worker,
            pid=os.getpid(),
            revision=self._settled,
            roles_revision=self._roles_revision,
            ready=self.ready,
            draining=self._draining,
            targets=self._holding.residents.reports(),
            champion=names.get(self._roles.champion) if self._roles.champion else None,
            canary=names.get(self._roles.canary) if self._roles.canary else None,
            counts=self._holding.counts(),
        )

    def _follow(self, wish: _Wish) -> None:
        self._wish = wish
        self._wake.set()
        if self._served(wish.keys[0]) is not None:
            self._switch(wish)  # a rollback waits for nobody's load

    async def _keep_following(self) -> None:
        while True:
            self._wake.clear()
            try:
                if self._wish is not None:
                    await self._settle(self._wish)
            except Exception:
                _log.exception("the desired state could not be followed; the next attempt follows")
                await asyncio.sleep(RETRY_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()

    async def _settle(self, wish: _Wish) -> None:
        """Load what is missing, the champion first, switch, and let go; a newer wish ends it."""
        self._let_go(wish)
        for key in wish.keys:
            if self._is_due(key, wish):
                await self._load(key, wish)
            if self._wish is not wish:
                return
            self._switch(wish)
        await self._complete_champion(wish)
        if self._wish is not wish:
            return
        self._let_go(wish)
        if self._settled != wish.revision:
            self._settled = wish.revision
            self._changed()

    def _is_due(self, key: Key, wish: _Wish) -> bool:
        resident = self._holding.residents.get(key)
        return resident is None or resident.is_due(wish.revision)

    async def _load(self, key: Key, wish: _Wish) -> None:
        """Load a target, after what an earlier wish began; a newer wish waits for neither."""
        if await self._loading.end() and self._wish is wish and self._is_due(key, wish):
            self._loading.begin(self._holding.load(self._order(key, wish)))
            await self._loading.end()

    def _order(self, key: Key, wish: _Wish) -> Order:
        champion = self._roles.champion
        is_champion = key == wish.keys[0]
        return Order(
            key=key,
            version=key.version if key else wish.version,
            revision=wish.revision,
            alone=is_champion and (champion is None or champion.generation is None),
            persistent=is_champion,
            beside=champion is not None,
            digest=wish.desired.bundles.get(key.version) if wish.desired and key else None,
            final=wish.desired is not None and key == wish.desired.candidate,
            wanted=lambda: self._wish is not None and key in self._wish.keys,
        )

    def _switch(self, wish: _Wish) -> None:
        """Let each role answer with what it should, where that is ready: one reference."""
        roles = self._wanted_roles(wish)
        reached = self._roles_revision if self._awaits_roles(wish) else wish.revision
        if (roles, reached) == (self._roles, self._roles_revision):
            return
        new = roles.serving - self._roles.serving
        self._roles, self._roles_revision = roles, reached
        for _, resident in self._holding.residents:
            if resident.served is not None:
                resident.state = "active" if resident.served in roles.serving else "ready"
            if resident.served in new:
                _announce(resident)
        self._changed()

    def _wanted_roles(self, wish: _Wish) -> Roles:
        champion = self._served(wish.keys[0]) or self._roles.champion
        canary = wish.desired.canary if wish.desired else None
        served = self._served(canary.target) if canary else None
        if wish.desired is None or canary is None or served is None:
            return Roles(champion)
        testers = canary.testers or canary.share == 0
        return Roles(champion, served, canary.share, wish.desired.salt, testers)

    def _awaits_roles(self, wish: _Wish) -> bool:
        """Whether the champion is not ready, or a canary that may be yet."""
        canary = wish.desired.canary if wish.desired else None
        champion_waits = self._served(wish.keys[0]) is None
        return champion_waits or (canary is not None and self._is_due(canary.target, wish))

    def _served(self, key: Key) -> ServedModel | None:
        resident = self._holding.residents.get(key)
        return resident.served if resident else None

    async def _complete_champion(self, wish: _Wish) -> None:
        """Give a champion that serves by its snapshot its generation, once that can be had."""
        resident = self._holding.residents.get(wish.keys[0])
        if wish.desired is None or resident is None or not _is_alone(resident):
            return
        before = await self._holding.complete(resident)
        if before is not None:
            self._switch(wish)
            self._holding.drain(before)

    def _let_go(self, wish: _Wish) -> None:
        """Let everything go that is neither wished nor answers."""
        for key, resident in self._holding.residents:
            if key not in wish.keys and resident.served not in self._roles.serving:
                self._holding.let_go(key)
                self._changed()

    def _pause_s(self) -> float | None:
        """Until there is something to try again; None: until somebody wishes something new."""
        residents = self._holding.residents
        alone = any(key is not None and _is_alone(resident) for key, resident in residents)
        retry_s = residents.next_retry_s()
        pauses = [RETRY_S] if alone else []
        pauses += [] if retry_s is None else [max(retry_s - time.monotonic(), 0.0)]
        return min(pauses, default=None)

    def _changed(self) -> None:
        residents = self._holding.residents
        desired = self._wish.desired if self._wish else None
        self._metrics.name_models(model_names(residents, self._roles, desired))
        self._metrics.count_targets([target.state for target in residents.reports()])
        for listener in self._listeners:
            listener()


def _is_alone(resident: Resident) -> bool:
    return resident.served is not None and resident.served.generation is None


def _announce(resident: Resident) -> None:
    served = resident.served
    if served is None:
        return
    served.activated_s = time.time()
    _log.info("version %d with generation %s serves", served.version, served.generation_name)
    if served.newcomers.absence is not None:
        _log.warning("newcomers get no group: %s", served.newcomers.absence)
