"""Loading a bundle: a private copy, every check, a warm-up; nothing here touches what serves."""

import shutil
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from model.bundle import MANIFEST, BrokenBundle, Bundle, open_bundle
from model.repository import Repository, UnknownVersion
from service.errors import LoadRefused
from service.inference.backend import Backend, UnusableGraph
from service.lifecycle.golden_check import check_golden, warm_up
from service.lifecycle.served_model import LoadedBundle
from service.newcomers import Newcomers, TextEncoders
from service.scorer import Scorer

CONTEXT = ("hour", "weekday")
"""The context fields this build can fill."""
_KEPT_COPIES = 2


class BundleLoader:
    """Loads versions from a repository into a private store.

    Its methods block: call them in a thread.
    """

    def __init__(self, repository: Repository, store: Path, backend: Backend, chunk: int) -> None:
        """Make a loader.

        Args:
            repository: where versions stand.
            store: folder of the private copies.
            backend: runs the graphs.
            chunk: candidates of one graph run, about.
        """
        self._repository = repository
        self._store = store
        self._backend = backend
        self._chunk = chunk
        self._encoders = TextEncoders()

    def newest_version(self) -> int:
        """The newest complete version.

        Raises:
            LoadRefused: when the repository cannot be read or holds none.
        """
        try:
            versions = self._repository.versions()
        except OSError as error:
            raise LoadRefused(f"repository {self._repository.url}: {error}") from error
        if not versions:
            raise LoadRefused(
                f"repository {self._repository.url} holds no complete model version; export one"
            )
        return versions[-1]

    def load(self, version: int, report: Callable[[str], None]) -> LoadedBundle:
        """Fetch, verify, load, check and warm up one version.

        Args:
            version: the model version.
            report: told the state's name as each begins.

        Returns:
            The loaded bundle, ready to serve.

        Raises:
            LoadRefused: with the exact reason; the private copy is gone again.
        """
        try:
            report("fetching")
            folder = self._fetch(version)
            return self._load(folder, report)
        except UnknownVersion as error:
            raise LoadRefused(str(error)) from error  # it names the version itself
        except (BrokenBundle, UnusableGraph, OSError, ValueError) as error:
            raise LoadRefused(f"model version {version}: {error}") from error
        except LoadRefused as error:
            raise LoadRefused(f"model version {version}: {error.detail}") from error

    def prune(self, in_use: set[Path]) -> None:
        """Remove private copies but those in use and the newest few."""
        folders = [entry for entry in self._store.iterdir() if entry.is_dir()]
        folders.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in folders[_KEPT_COPIES:]:
            if folder not in in_use:
                shutil.rmtree(folder, ignore_errors=True)

    def _fetch(self, version: int) -> Path:
        """Copy a version into the store under its digest, by a temporary name."""
        self._store.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = Path(tempfile.mkdtemp(prefix=".fetching-", dir=self._store))
        try:
            self._repository.fetch(version, temporary)
            digest = sha256((temporary / MANIFEST).read_bytes()).hexdigest()
            folder = self._store / f"{version}-{digest[:16]}"
            # An older copy may have been damaged since; what is mapped of it stays readable.
            shutil.rmtree(folder, ignore_errors=True)
            return temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _load(self, folder: Path, report: Callable[[str], None]) -> LoadedBundle:
        try:
            report("verifying")
            bundle = open_bundle(folder)
            _check_context(bundle)
            report("loading")
            scorer = Scorer(bundle, self._backend.load(bundle.graphs), self._chunk)
            newcomers = Newcomers(bundle, self._encoders)
            report("golden")
            check_golden(bundle, scorer, self._backend.provider)
            report("warming")
            warm_up(bundle, scorer)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return LoadedBundle(bundle, scorer, newcomers, self._backend.provider)


def _check_context(bundle: Bundle) -> None:
    names = tuple(field.name for field in bundle.spec.context)
    if names != CONTEXT:
        raise LoadRefused(f"spec.json: context fields {names}, this build fills {CONTEXT}")
