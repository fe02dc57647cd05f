"""The lifecycle of what serves: one champion, swapped whole, and the states on the way there."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from model.generation import Generation
from service.errors import LoadError, LoadInProgress, LoadRefused, NotReady
from service.features.priors import Priors
from service.features.reader import RecordReader
from service.features.store import FeatureStore, StoreUnavailable
from service.lifecycle.generations import choose_generation, control_deadline_s
from service.lifecycle.loading import BundleLoader
from service.lifecycle.served_model import LoadedBundle, ServedModel
from service.metrics import Metrics
from service.settings import Settings

RETRY_S = 1.0
"""Between attempts to reach what was missing at the start."""

Choose = Callable[[str, str | None], Awaitable[Generation | None]]
"""Chooses the generation for a feature contract, by name or the newest one."""

_log = logging.getLogger("choirrec")


@dataclass(frozen=True)
class Verdict:
    """How a load ended."""

    version: int
    generation: str
    bundle_digest: str
    feature_contract: str
    seconds: float
    """From the call to the swap."""


@dataclass(frozen=True)
class Progress:
    """Where the last load stands."""

    state: str
    """starting, fetching, verifying, loading, golden, warming, active or failed."""
    version: int | None
    generation: str | None
    reason: str | None
    """Why it failed; None otherwise."""


class Lifecycle:
    """Holds the champion. Every method belongs to the event loop's thread."""

    def __init__(
        self, settings: Settings, loader: BundleLoader, store: FeatureStore, metrics: Metrics
    ) -> None:
        """Begin without a champion.

        Args:
            settings: what to start with, and the budget of reads.
            loader: loads bundles.
            store: holds the generations.
            metrics: counts loads and names the model.
        """
        self._settings = settings
        self._loader = loader
        self._store = store
        self._metrics = metrics
        self._champion: ServedModel | None = None
        self._draining_models: set[ServedModel] = set()
        self._loading = False
        self._keeper: asyncio.Task[None] | None = None
        self._waiters: set[asyncio.Task[None]] = set()
        self.progress = Progress("starting", settings.model_version, settings.generation, None)
        self.draining = False

    @property
    def champion(self) -> ServedModel | None:
        """The active model, if there is one."""
        return self._champion

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome: a champion is active, checked, and not draining."""
        return self._champion is not None and not self.draining

    def current(self) -> ServedModel:
        """The champion, to be leased at once by ``with``.

        Raises:
            NotReady: when there is none yet.
        """
        if self._champion is None:
            reason = self.progress.reason or f"state {self.progress.state}"
            raise NotReady(f"no model is active yet: {reason}")
        return self._champion

    def start(self) -> None:
        """Begin to load what the settings name, and keep trying until it serves in full."""
        self._keeper = asyncio.create_task(self._keep_trying())

    async def stop(self) -> None:
        """Stop trying, let the champion go and close the store."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._champion is not None:
            self._champion.retire()
        await self._store.close()

    async def load(self, version: int | None, generation: str | None) -> Verdict:
        """Load a version with a generation and swap to it; a failure leaves the champion alone.

        Args:
            version: the model version; None: the newest one.
            generation: the generation; None: the newest one that fits the bundle.

        Raises:
            LoadInProgress: when another load is under way.
            LoadRefused: with the exact reason.
        """
        return await self._attempt(version, generation, self._generation)

    async def _attempt(
        self,
        version: int | None,
        generation: str | None,
        choose: Choose,
    ) -> Verdict:
        if self._loading:
            raise LoadInProgress("another load is under way; wait for its verdict")
        self._loading = True
        self.progress = Progress("fetching", version, generation, None)
        started_s = time.monotonic()
        try:
            served = await self._served(version, generation, choose)
        except LoadError as error:
            self._failed(version, generation, error.detail)
            raise
        except Exception as error:
            _log.exception("load of version %s failed", version)
            self._failed(version, generation, f"{type(error).__name__}: {error}")
            raise LoadRefused(f"{type(error).__name__}: {error}") from error
        finally:
            self._loading = False
        self._activate(served)
        return Verdict(
            version=served.version,
            generation=served.generation_name,
            bundle_digest=served.bundle_digest,
            feature_contract=served.feature_contract,
            seconds=time.monotonic() - started_s,
        )

    async def _served(
        self, version: int | None, generation: str | None, choose: Choose
    ) -> ServedModel:
        loaded = await self._loaded(version)
        chosen = await choose(loaded.bundle.manifest.feature_contract, generation)
        priors = Priors(loaded.bundle, chosen, self._settings.group_cache_entries)
        budget_s = self._settings.fetch_budget_ms / 1000
        reader = RecordReader(
            self._store, loaded.bundle.spec, chosen, priors, self._metrics, budget_s
        )
        try:
            await reader.read_global_prior(control_deadline_s())
        except (LookupError, StoreUnavailable) as error:
            raise LoadRefused(str(error)) from error
        return ServedModel(loaded, chosen, reader)

    async def _loaded(self, version: int | None) -> LoadedBundle:
        """The bundle of a version: the champion's own when it is the same, else a fresh one."""
        if version is None:
            version = await asyncio.to_thread(self._loader.newest_version)
        if self._champion is not None and self._champion.version == version:
            return self._champion.loaded
        loop = asyncio.get_running_loop()

        def report(state: str) -> None:
            loop.call_soon_threadsafe(self._report, state, version)

        return await asyncio.to_thread(self._loader.load, version, report)

    async def _generation(self, contract: str, name: str | None) -> Generation | None:
        try:
            return await choose_generation(self._store, contract, name)
        except StoreUnavailable as error:
            raise LoadRefused(f"no generation can be chosen: {error}") from error

    async def _generation_or_none(self, contract: str, name: str | None) -> Generation | None:
        """As ``_generation``, but None where the store is silent, or empty and none was named."""
        try:
            return await choose_generation(self._store, contract, name)
        except StoreUnavailable as error:
            reason = str(error)
        except LoadRefused as refusal:
            if name is not None:
                raise
            reason = refusal.detail
        _log.warning("%s; the bundle's prior snapshot answers meanwhile", reason)
        return None

    async def _keep_trying(self) -> None:
        while self._champion is None or self._champion.generation is None:
            await self._try_settings()
            if self._champion is None or self._champion.generation is None:
                await asyncio.sleep(RETRY_S)

    async def _try_settings(self) -> None:
        """One attempt: first to serve at all, then to serve with a generation."""
        try:
            if self._champion is None:
                wanted = self._settings.model_version
                await self._attempt(wanted, self._settings.generation, self._generation_or_none)
            elif await self._generation_is_there(self._champion):
                await self.load(self._champion.version, self._settings.generation)
        except LoadError as error:
            _log.debug("not serving in full yet: %s", error.detail)
        except Exception:
            _log.exception("an attempt to serve in full failed; the next one follows")

    async def _generation_is_there(self, champion: ServedModel) -> bool:
        try:
            contract = champion.feature_contract
            await choose_generation(self._store, contract, self._settings.generation)
        except (LoadRefused, StoreUnavailable):
            return False
        return True

    def _activate(self, served: ServedModel) -> None:
        """Swap by one reference; the old model ends with its last request."""
        old, self._champion = self._champion, served
        self.progress = Progress("active", served.version, served.generation_name, None)
        self._metrics.model_loads.labels("active").inc()
        self._metrics.name_model(
            served.version, served.generation_name, served.bundle_digest, served.loaded.provider
        )
        _log.info("version %d with generation %s serves", served.version, served.generation_name)
        if served.newcomers.absence is not None:
            _log.warning("newcomers get no group: %s", served.newcomers.absence)
        if old is not None:
            old.retire()
            waiter = asyncio.create_task(self._drain(old))
            self._waiters.add(waiter)
            waiter.add_done_callback(self._waiters.discard)

    async def _drain(self, old: ServedModel) -> None:
        self._draining_models.add(old)
        await old.drained.wait()
        self._draining_models.discard(old)
        models = [self._champion, *self._draining_models]
        in_use = {model.loaded.bundle.folder for model in models if model is not None}
        await asyncio.to_thread(self._loader.prune, in_use)

    def _failed(self, version: int | None, generation: str | None, reason: str) -> None:
        if reason != self.progress.reason:
            _log.warning("load refused: %s", reason)
        self.progress = Progress("failed", version, generation, reason)
        self._metrics.model_loads.labels("refused").inc()

    def _report(self, state: str, version: int) -> None:
        if self._loading:
            self.progress = Progress(state, version, self.progress.generation, None)
