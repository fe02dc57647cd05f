"""Joining: a loaded bundle and a generation become a served model."""

from model.generation import Generation
from service.errors import LoadRefused, LoadUnavailable
from service.features.priors import Priors
from service.features.reader import RecordReader
from service.features.store import FeatureStore, StoreUnavailable
from service.lifecycle.generations import choose_generation, control_deadline_s
from service.lifecycle.served_model import LoadedBundle, ServedModel
from service.lifecycle.tally import Tally
from service.metrics import Metrics
from service.settings import Settings


class Joiner:
    """Joins bundles with generations of one store."""

    def __init__(self, store: FeatureStore, settings: Settings, metrics: Metrics) -> None:
        """Make it.

        Args:
            store: holds the generations.
            settings: the budget of reads and the size of caches.
            metrics: counts what readers find.
        """
        self._store = store
        self._budget_s = settings.fetch_budget_ms / 1000
        self._entries = settings.group_cache_entries
        self._metrics = metrics

    async def join(self, loaded: LoadedBundle, generation: str | None, tally: Tally) -> ServedModel:
        """Serve a bundle with a generation, its global prior at hand.

        Args:
            loaded: the bundle.
            generation: its name; None: the newest complete one that fits.
            tally: counts what it answers.

        Raises:
            LoadUnavailable: when the store cannot be read.
            LoadRefused: when the generation is missing, incomplete, damaged or of another
                feature contract.
        """
        try:
            contract = loaded.bundle.manifest.feature_contract
            chosen = await choose_generation(self._store, contract, generation)
            reader = self._reader(loaded, chosen)
            await reader.read_global_prior(control_deadline_s())
        except StoreUnavailable as error:
            raise LoadUnavailable(f"no generation can be chosen: {error}") from error
        except LookupError as error:
            raise LoadRefused(str(error)) from error
        return ServedModel(loaded, chosen, reader, tally)

    def alone(self, loaded: LoadedBundle, tally: Tally) -> ServedModel:
        """Serve a bundle by its own prior snapshot."""
        return ServedModel(loaded, None, self._reader(loaded, None), tally)

    def _reader(self, loaded: LoadedBundle, generation: Generation | None) -> RecordReader:
        bundle = loaded.bundle
        priors = Priors(bundle, generation, self._entries)
        return RecordReader(
            self._store, bundle.spec, generation, priors, self._metrics, self._budget_s
        )
