"""A served model: one bundle with one generation, held from a request's first byte to its last."""

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType

from model.bundle import Bundle
from model.generation import Generation
from service.features.reader import RecordReader
from service.lifecycle.private_store import PrivateCopy
from service.lifecycle.tally import Tally
from service.newcomers import Newcomers
from service.scorer import Scorer


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A bundle that passed every check, with its graphs; several generations may share it."""

    bundle: Bundle
    scorer: Scorer
    newcomers: Newcomers
    provider: str
    """The execution provider that passed the golden check."""
    copy: PrivateCopy
    """The private copy whose tables are mapped; held as long as the bundle is."""


class ServedModel:
    """One reference-counted (version, generation); every request leases exactly one.

    Leases are taken and given back on the event loop's thread, so plain integers count them.
    """

    def __init__(
        self,
        loaded: LoadedBundle,
        generation: Generation | None,
        reader: RecordReader,
        tally: Tally,
    ) -> None:
        """Join a bundle and a generation.

        Args:
            loaded: the bundle and its graphs.
            generation: whose records are read; None: the bundle's own snapshot alone.
            reader: reads that generation.
            tally: counts what it answers.
        """
        manifest = loaded.bundle.manifest
        self.loaded = loaded
        self.scorer = loaded.scorer
        self.newcomers = loaded.newcomers
        self.reader = reader
        self.tally = tally
        self.generation = generation
        self.version = manifest.model_version
        self.bundle_digest = loaded.bundle.digest
        self.feature_contract = manifest.feature_contract
        snapshot = loaded.bundle.prior_snapshot.generation
        self.generation_name = generation.name if generation else snapshot
        self.activated_s = time.time()
        self.drained = asyncio.Event()
        self._leases = 0
        self._retired = False

    @property
    def leases(self) -> int:
        """Requests that hold this model now."""
        return self._leases

    @property
    def retired(self) -> bool:
        """Whether it takes no new requests."""
        return self._retired

    def retire(self) -> None:
        """Take no new requests; ``drained`` is set once the last one has ended."""
        self._retired = True
        self._settle()

    def __enter__(self) -> "ServedModel":
        if self._retired:
            raise RuntimeError(f"model version {self.version} is retired and takes no requests")
        self._leases += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leases -= 1
        self._settle()

    def _settle(self) -> None:
        if self._retired and not self._leases:
            self.drained.set()
