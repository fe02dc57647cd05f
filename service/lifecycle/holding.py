"""Holding: a worker loads targets, one at a time beside what serves, and lets them go."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from service.errors import LoadError, LoadRefused, LoadUnavailable
from service.features.recall import recall
from service.lifecycle.background import Background
from service.lifecycle.heap import trim_heap
from service.lifecycle.joining import Joiner
from service.lifecycle.loading import Abandoned, BundleLoader
from service.lifecycle.residents import Key, Resident, Residents
from service.lifecycle.served_model import LoadedBundle, ServedModel
from service.lifecycle.states import RoleCounts, State
from service.lifecycle.tally import Tally
from service.metrics import Metrics

REMEMBERED_TALLIES = 32
"""Targets whose counts are kept, those that have gone included."""

UNWANTED = "nobody wants it any more"

_log = logging.getLogger("choirrec")


@dataclass(frozen=True, eq=False)
class Order:
    """One target to be loaded."""

    key: Key
    version: int | None
    """None: the newest."""
    revision: int
    alone: bool
    """Whether it serves by its snapshot where its generation cannot be had."""
    persistent: bool
    """Whether it is tried again whatever the reason was; else, when it may be there later."""
    final: bool
    """Whether the first verdict is the last one."""
    beside: bool
    """Whether something serves meanwhile."""
    digest: str | None
    """Of the bundle that it must be; None: whatever the repository holds."""
    wanted: Callable[[], bool]
    """Whether it still is; asked from another thread."""


class Holding:
    """Everything that one worker holds. Every method belongs to the event loop's thread."""

    def __init__(
        self,
        loader: BundleLoader,
        joiner: Joiner,
        background: Background,
        metrics: Metrics,
        changed: Callable[[], None],
    ) -> None:
        """Begin with nothing.

        Args:
            loader: loads bundles.
            joiner: joins them with generations.
            background: where bundles are loaded.
            metrics: counts verdicts.
            changed: called whenever a state changed.
        """
        self.residents = Residents()
        self._loader = loader
        self._joiner = joiner
        self._background = background
        self._metrics = metrics
        self._changed = changed
        self._tallies: dict[str, Tally] = {}
        self._unloading: set[asyncio.Task[None]] = set()

    async def load(self, order: Order) -> None:
        """Load a target; how it ended stands in its resident.

        Args:
            order: what to load.
        """
        resident = self.residents.enter(order.key, order.version)
        resident.begin(order.revision)
        self._changed()
        try:
            await self._serve(order, resident)
        except LoadError as error:
            self._fail(order, resident, error, error.detail)
        except Abandoned as error:
            resident.fail(str(error), again=False, patient=False)
        except Exception as error:
            _log.exception("loading %s failed", order.key or order.version or "the newest version")
            self._fail(order, resident, error, f"{type(error).__name__}: {error}")
        else:
            self._metrics.model_loads.labels("ready").inc()
        self._changed()

    async def complete(self, resident: Resident) -> ServedModel | None:
        """Give what serves by its snapshot its generation, if that can be had now.

        Args:
            resident: of a target.

        Returns:
            What served by the snapshot until now; None: the generation cannot be had.
        """
        before = resident.served
        if before is None:
            return None
        try:
            joined = await self._joiner.join(before.loaded, resident.generation, before.tally)
        except LoadRefused as refusal:
            if resident.reason != (reason := _alone(refusal)):
                resident.reason = reason
                self._changed()
            return None
        resident.served, resident.reason = joined, None
        return before

    def let_go(self, key: Key) -> None:
        """Hold a target no longer."""
        served = self.residents.leave(key)
        if served is not None:
            self.drain(served)

    def drain(self, served: ServedModel) -> None:
        """Let a model end with its last request; then its memory and its copy are given back."""
        served.retire()
        self.residents.drain(served)
        task = asyncio.create_task(self._unload(served))
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    def counts(self) -> dict[str, RoleCounts]:
        """What each target has answered, by ``version/generation``."""
        return {name: tally.counts() for name, tally in self._tallies.items()}

    async def stop(self) -> None:
        """Let everything go."""
        for task in self._unloading:
            task.cancel()
        await asyncio.gather(*self._unloading, return_exceptions=True)
        for _, resident in self.residents:
            if resident.served is not None:
                resident.served.retire()
        self._background.stop()

    async def _serve(self, order: Order, resident: Resident) -> None:
        version = order.version
        if version is None:
            version = await self._background.run(self._loader.newest_version)
        loaded = self.residents.loaded(version) or await self._loaded(version, order, resident)
        if order.key is None:
            name = f"{version}/{loaded.bundle.prior_snapshot.generation}"
            resident.succeed(self._joiner.alone(loaded, self._tally(name, loaded)), None)
            return
        tally = self._tally(str(order.key), loaded)
        try:
            served, reason = await self._joiner.join(loaded, order.key.generation, tally), None
            await recall(served.reader, self.residents.asked_for(), order.wanted)
        except LoadRefused as refusal:
            if not order.alone:
                raise
            served, reason = self._joiner.alone(loaded, tally), _alone(refusal)
            _log.warning("%s: %s", order.key, reason)
        if not order.wanted():
            raise Abandoned(UNWANTED)
        resident.succeed(served, reason)

    async def _loaded(self, version: int, order: Order, resident: Resident) -> LoadedBundle:
        loop = asyncio.get_running_loop()

        def report(state: State) -> None:
            if not order.wanted():
                raise Abandoned(UNWANTED)
            if state != resident.state:
                loop.call_soon_threadsafe(self._step, resident, state)

        load = partial(self._loader.load, version, report, order.digest, beside=order.beside)
        return await self._background.run(load)

    def _step(self, resident: Resident, state: State) -> None:
        resident.state = state
        self._changed()

    def _fail(self, order: Order, resident: Resident, error: Exception, reason: str) -> None:
        later = isinstance(error, LoadUnavailable)
        again = order.persistent or (later and not order.final)
        if resident.failures == 0 or order.final:
            _log.warning("load refused: %s", reason)
        resident.fail(reason, again=again, patient=not later)
        self._metrics.model_loads.labels("refused").inc()

    async def _unload(self, served: ServedModel) -> None:
        await served.drained.wait()
        self.residents.drained(served)
        del served  # the last reference: sessions and mapped tables end here
        self._changed()
        await self._background.run(trim_heap)
        await self._background.run(self._loader.prune)

    def _tally(self, name: str, loaded: LoadedBundle) -> Tally:
        """The counts of a target, which go on where they were when it is loaded again."""
        tally = self._tallies.pop(name, None) or Tally(loaded.bundle.reference)
        self._tallies[name] = tally
        if len(self._tallies) > REMEMBERED_TALLIES:
            del self._tallies[next(iter(self._tallies))]
        return tally


def _alone(refusal: LoadRefused) -> str:
    return f"{refusal.detail}; the bundle's prior snapshot answers meanwhile"
