"""Loading a bundle: a private copy, every check, a warm-up; nothing here touches what serves."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from model.bundle import GRAPHS, BrokenBundle, Bundle, open_bundle
from model.repository import Repository, UnknownVersion
from service.errors import LoadRefused, LoadUnavailable
from service.inference.backend import Backend, UnusableGraph
from service.lifecycle.admission import admit
from service.lifecycle.golden_check import check_golden
from service.lifecycle.private_store import PrivateCopy, PrivateStore
from service.lifecycle.rests import REST, Rests
from service.lifecycle.served_model import LoadedBundle
from service.lifecycle.states import State
from service.lifecycle.turns import Turns
from service.lifecycle.warm_up import warm_up
from service.newcomers import Newcomers, TextEncoders
from service.scorer import Scorer

CONTEXT = ("hour", "weekday")
"""The context fields this build can fill."""

Report = Callable[[State], None]
"""Told each state as it begins, and again while it lasts; may raise ``Abandoned``."""


class Abandoned(Exception):
    """A load that ends early because nobody wants it any more."""


class BundleLoader:
    """Loads versions from a repository by way of a private store.

    Its methods block: call them in a thread, one at a time.
    """

    def __init__(
        self, repository: Repository, store: Path, backend: Backend, chunk: int, workers: int = 1
    ) -> None:
        """Make a loader.

        Args:
            repository: where versions stand.
            store: folder of the private copies.
            backend: runs the graphs.
            chunk: candidates of one graph run, about.
            workers: processes that want the same at once, a core each: memory is admitted for
                all of them, and they take turns.
        """
        self._repository = repository
        self._store = PrivateStore(store, repository)
        self._backend = backend
        self._chunk = chunk
        self._workers = workers
        self._turns = Turns(store, workers)
        self._encoders = TextEncoders()

    def newest_version(self) -> int:
        """The newest complete version.

        Raises:
            LoadUnavailable: when the repository cannot be read or holds none.
        """
        try:
            versions = self._repository.versions()
        except OSError as error:
            raise LoadUnavailable(f"repository {self._repository.url}: {error}") from error
        if not versions:
            raise LoadUnavailable(
                f"repository {self._repository.url} holds no complete model version; export one"
            )
        return versions[-1]

    def load(
        self, version: int, report: Report, digest: str | None = None, *, beside: bool = True
    ) -> LoadedBundle:
        """Fetch, verify, load, check and warm up one version.

        Args:
            version: the model version.
            report: told the states' names.
            digest: of the bundle that it must be; None: whatever the repository holds.
            beside: whether something serves. What does must not be ended by a lack of memory,
                nor slowed down by every process that loads at once; where nothing does, there is
                nothing to protect.

        Returns:
            The loaded bundle, ready to serve.

        Raises:
            LoadUnavailable: when the version is not there, or cannot be read.
            LoadRefused: with the exact reason; the private copy is gone again.
        """
        try:
            report("fetching")
            return self._load(version, digest, report, beside)
        except UnknownVersion as error:
            raise LoadUnavailable(str(error)) from error  # it names the version itself
        except OSError as error:
            raise LoadUnavailable(f"model version {version}: {error}") from error
        except (BrokenBundle, UnusableGraph, ValueError) as error:
            raise LoadRefused(f"model version {version}: {error}") from error
        except LoadRefused as error:
            raise type(error)(f"model version {version}: {error.detail}") from error

    def prune(self) -> None:
        """Remove private copies that nobody uses, but the newest few."""
        self._store.prune()

    def _load(self, version: int, digest: str | None, report: Report, beside: bool) -> LoadedBundle:
        copy = self._store.take(version, digest)
        try:
            return self._attempt(copy, report, beside)
        except BrokenBundle:
            if copy.fresh:
                raise
        # The copy was damaged on this disk; the repository may still hold the version whole.
        return self._attempt(self._store.take(version, digest, fresh=True), report, beside)

    def _attempt(self, copy: PrivateCopy, report: Report, beside: bool) -> LoadedBundle:
        try:
            if beside:
                admit(copy.folder, self._workers)
            waiting = partial(report, "fetching")
            with self._turns.turn(waiting) if beside else nullcontext():
                return self._checked(copy, report, Rests(REST if beside else 0))
        except Abandoned:
            raise
        except BaseException:
            self._store.discard(copy)
            raise

    def _checked(self, copy: PrivateCopy, report: Report, rests: Rests) -> LoadedBundle:
        report("verifying")
        bundle = open_bundle(copy.folder, rests.take)
        _check_context(bundle)
        rests.take()
        report("loading")
        graphs = {name: (copy.folder / f"{name}.onnx").read_bytes() for name in GRAPHS}
        scorer = Scorer(bundle, self._backend.load(graphs), self._chunk)
        newcomers = Newcomers(bundle, self._encoders)
        rests.take()
        report("golden")
        check_golden(bundle, scorer, self._backend.provider, rests)
        report("warming")
        warm_up(bundle, scorer, rests)
        return LoadedBundle(bundle, scorer, newcomers, self._backend.provider, copy)


def _check_context(bundle: Bundle) -> None:
    names = tuple(field.name for field in bundle.spec.context)
    if names != CONTEXT:
        raise LoadRefused(f"spec.json: context fields {names}, this build fills {CONTEXT}")
