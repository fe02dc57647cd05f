"""The private store: this machine's own copies of bundles, shared by the processes that serve."""

import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from model.bundle import MANIFEST, BrokenBundle, Manifest
from model.repository import AnotherBundle, Repository, UnknownVersion

_KEPT_COPIES = 2
_UNFINISHED = "."
"""What the names of unfinished copies begin with."""


class PrivateCopy:
    """A copy that nobody removes as long as this object, or the process, lives."""

    def __init__(self, folder: Path, *, fresh: bool) -> None:
        """Hold a copy.

        Args:
            folder: of the copy.
            fresh: whether it was fetched just now, rather than found.
        """
        self.folder = folder
        self.fresh = fresh
        # The kernel lets go of the lock with the descriptor, also when the process is killed.
        descriptor = _locked(folder, fcntl.LOCK_SH)
        self.release = weakref.finalize(self, os.close, descriptor)


class PrivateStore:
    """Copies of versions, named ``<version>-<digest>``. Its methods block."""

    def __init__(self, folder: Path, repository: Repository) -> None:
        """Open a store; nothing is made yet.

        Args:
            folder: on a local disk; nobody else may write there.
            repository: where versions come from.
        """
        self._folder = folder
        self._repository = repository

    def take(self, version: int, digest: str | None = None, *, fresh: bool = False) -> PrivateCopy:
        """A copy of a version, fetched unless an equal one is there.

        Processes that want the same version at once fetch it once. A version that the repository
        has lost or damaged, or a repository that cannot be reached, is no matter while a copy is
        there.

        Args:
            version: the model version.
            digest: of the bundle that it must be, whatever the repository holds by now; None: the
                repository's.
            fresh: whether to fetch it in any case.

        Raises:
            UnknownVersion, BrokenBundle, OSError: as ``Repository.fetch``.
            AnotherBundle: when the repository alone has the version, with another digest.
        """
        with self._alone():
            found = None if fresh else self._find(version, digest)
            return PrivateCopy(found or self._fetch(version, digest), fresh=found is None)

    def discard(self, copy: PrivateCopy) -> None:
        """Remove a copy that must not serve, unless another process still looks at it."""
        copy.release()
        with self._alone():
            self._remove(copy.folder)

    def prune(self) -> None:
        """Remove what nobody holds, but the newest few; unfinished copies of killed processes too.

        Raises:
            OSError: when the folder cannot be read.
        """
        if not self._folder.is_dir():
            return
        with self._alone():
            folders = [entry for entry in self._folder.iterdir() if entry.is_dir()]
            folders.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
            whole = [folder for folder in folders if not folder.name.startswith(_UNFINISHED)]
            for folder in folders:
                if folder not in whole[:_KEPT_COPIES]:
                    self._remove(folder)

    def _find(self, version: int, digest: str | None) -> Path | None:
        """The copy of a digest; without one, that of the repository's version, or the newest."""
        if digest is not None:
            return self._copy(version, digest)
        copies = _copies(self._folder, version)
        if not copies:
            return None
        try:
            wanted = self._repository.manifest(version)
        except (UnknownVersion, BrokenBundle, OSError):
            return copies[-1]
        return next((copy for copy in reversed(copies) if _manifest(copy) == wanted), None)

    def _copy(self, version: int, digest: str) -> Path | None:
        folder = self._folder / f"{version}-{digest[:16]}"
        return folder if _digest(folder) == digest else None

    def _fetch(self, version: int, wanted: str | None) -> Path:
        """Copy a version into the store under its digest, by a temporary name."""
        temporary = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}fetching-", dir=self._folder))
        try:
            self._repository.fetch(version, temporary)
            digest = _digest(temporary)
            if wanted not in (None, digest):
                raise AnotherBundle(digest, wanted)
            folder = self._folder / f"{version}-{digest[:16]}"
            # An older copy may have been damaged since; what is mapped of it stays readable.
            shutil.rmtree(folder, ignore_errors=True)
            return temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        try:
            descriptor = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):
            return
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes the store meanwhile."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        descriptor = _locked(self._folder, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)


def kept_part(store: Path, version: int, name: str, digest: str | None = None) -> bytes | None:
    """A small file of a version's private copy; None: there is no copy that has it unchanged.

    Args:
        store: folder of the private copies.
        version: the model version.
        name: of the file, relative to the bundle.
        digest: of the bundle that it must be of; None: of the newest copy.
    """
    copies = _copies(store, version)
    if digest is not None:
        copies = [copy for copy in copies if _digest(copy) == digest]
    manifest = _manifest(copies[-1]) if copies else None
    if manifest is None:
        return None
    try:
        found = (copies[-1] / name).read_bytes()
    except OSError:
        return None
    return found if sha256(found).hexdigest() == manifest.files.get(name) else None


def _copies(store: Path, version: int) -> list[Path]:
    """Oldest first."""
    return sorted(store.glob(f"{version}-*"), key=lambda copy: copy.stat().st_mtime)


def _digest(folder: Path) -> str:
    """What tells a bundle from every other; empty: it has no manifest."""
    try:
        return sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return ""


def _manifest(folder: Path) -> Manifest | None:
    """What a copy says of itself; None when it cannot."""
    try:
        return Manifest.from_json((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None


def _locked(folder: Path, how: int) -> int:
    """A descriptor of a folder that holds a lock on it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError as error:
        os.close(descriptor)
        words = f"cannot be locked ({error.strerror}); put the store on a local disk"
        raise OSError(error.errno, words, str(folder)) from error
    return descriptor
