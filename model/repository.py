"""The repository of bundles: any fsspec URL, a local folder by default."""

import errno
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from model.array_file import HEAD_BYTES, parse_header
from model.manifest import MANIFEST, MAX_MANIFEST_BYTES, BrokenBundle, Manifest
from model.sealed_files import Entry, check_entries, check_size

LARGE_BYTES = 2**20
"""From here on a file's beginning is looked at before the whole of it is copied."""


class UnknownVersion(LookupError):
    """A model version that the repository does not hold."""


class AnotherBundle(ValueError):
    """A version of the repository that is not the bundle which was asked for."""

    def __init__(self, found: str, wanted: str) -> None:
        """Say so.

        Args:
            found: digest of the repository's.
            wanted: digest of the one that was asked for.
        """
        super().__init__(
            f"the repository holds another bundle under this number (digest {found}) than the one "
            f"that was activated ({wanted}); give the new one a number of its own"
        )


class Repository:
    """Versions of a model as ``<url>/<version>/``, each complete once its manifest is there."""

    def __init__(self, url: str) -> None:
        """Open a repository; nothing is read yet.

        Args:
            url: a folder or any URL fsspec knows (``s3://…``, ``gs://…``, ``memory://…``).
        """
        self.url = url
        self._files, self._root = fsspec.core.url_to_fs(url)

    def versions(self) -> list[int]:
        """Complete versions, ascending; folders without a manifest do not count."""
        if not self._files.isdir(self._root):
            return []
        names = [PurePosixPath(entry).name for entry in self._files.ls(self._root, detail=False)]
        numbers = sorted(int(name) for name in names if name.isascii() and name.isdigit())
        return [n for n in numbers if self._files.isfile(f"{self._root}/{n}/{MANIFEST}")]

    def manifest(self, version: int) -> Manifest:
        """What a version says of itself.

        Raises:
            UnknownVersion: when the version is not there or not complete.
            BrokenBundle: when its manifest cannot be read, or is another version's.
        """
        return self._parsed(version, self._present_manifest(version))

    def read(self, version: int, name: str, most_bytes: int, digest: str | None = None) -> bytes:
        """One small file of a version, as its manifest has it.

        Args:
            version: the model version.
            name: of the file, relative to the bundle.
            most_bytes: a larger one is refused before it is read.
            digest: of the bundle that it must be; None: whatever stands there.

        Raises:
            UnknownVersion: when the version is not there or not complete.
            AnotherBundle: when another one than that of the digest stands there.
            BrokenBundle: when it has no such file, or another one than its manifest says.
        """
        manifest_bytes = self._present_manifest(version)
        found_digest = sha256(manifest_bytes).hexdigest()
        if digest not in (None, found_digest):
            raise AnotherBundle(found_digest, digest)
        expected = self._parsed(version, manifest_bytes).files.get(name)
        place = f"{self._root}/{version}/{name}"
        if expected is None or not self._files.isfile(place):
            raise BrokenBundle(f"missing files: {name}; copy the bundle again")
        check_size(f"{name}: ", self._files.size(place), most_bytes)
        found = bytes(self._files.cat_file(place, start=0, end=most_bytes + 1))
        if sha256(found).hexdigest() != expected:
            raise BrokenBundle(f"{name}: its hash differs from the manifest; copy the bundle again")
        return found

    def put(self, folder: Path, version: int) -> None:
        """Copy a sealed bundle into the repository, its manifest last.

        Raises:
            FileExistsError: when the version is there already: versions never change.
        """
        target = f"{self._root}/{version}"
        if self._files.isfile(f"{target}/{MANIFEST}"):
            raise FileExistsError(f"model version {version} already stands in {self.url}")
        manifest = Manifest.from_json((folder / MANIFEST).read_text())
        for name in manifest.files:
            self._files.makedirs(str(PurePosixPath(f"{target}/{name}").parent), exist_ok=True)
            self._files.put_file(str(folder / name), f"{target}/{name}")
        # Under another name first: half a manifest would make half a version count.
        self._files.put_file(str(folder / MANIFEST), f"{target}/{MANIFEST}.tmp")
        self._files.mv(f"{target}/{MANIFEST}.tmp", f"{target}/{MANIFEST}")

    def size_bytes(self, version: int) -> int:
        """Bytes of a version's files, without reading any of them.

        Raises:
            UnknownVersion: when the version is not there or not complete.
        """
        self._require(version)
        return sum(entry.size for entry in self._entries(version).values())

    def fetch(self, version: int, folder: Path) -> None:
        """Copy a version into an empty private folder, its manifest last.

        Args:
            version: the model version.
            folder: where to; it is on the disk that must have the room.

        Raises:
            UnknownVersion: when the version is not there or not complete.
            BrokenBundle: before anything is copied: when the manifest is unreadable or names files
                outside the bundle, when files are missing, too many, links, or too large.
            OSError: when the disk has no room for it.
        """
        self._require(version)
        entries = self._entries(version)
        manifest_bytes = self._manifest_bytes(version, entries[MANIFEST])
        manifest = self._parsed(version, manifest_bytes)
        check_entries(entries, manifest.files)
        self._check_arrays(version, entries)
        _check_room(folder, sum(entry.size for entry in entries.values()))
        self._copy(version, folder, manifest)
        (folder / MANIFEST).write_bytes(manifest_bytes)

    def _require(self, version: int) -> None:
        if version not in (known := self.versions()):
            raise UnknownVersion(f"model version {version} is not in {self.url}; it holds {known}")

    def _entries(self, version: int) -> Mapping[str, Entry]:
        source = f"{self._root}/{version}"
        found: Mapping[str, Mapping[str, Any]] = self._files.find(source, detail=True)
        return {
            PurePosixPath(path).relative_to(source).as_posix(): _entry(told)
            for path, told in found.items()
        }

    def _present_manifest(self, version: int) -> bytes:
        self._require(version)
        told = self._files.info(f"{self._root}/{version}/{MANIFEST}")
        return self._manifest_bytes(version, _entry(told))

    def _manifest_bytes(self, version: int, entry: Entry) -> bytes:
        check_entries({MANIFEST: entry}, ())
        # Never more than was listed, should it grow meanwhile.
        place = f"{self._root}/{version}/{MANIFEST}"
        text = bytes(self._files.cat_file(place, start=0, end=MAX_MANIFEST_BYTES + 1))
        check_size(f"{MANIFEST}: ", len(text), MAX_MANIFEST_BYTES)
        return text

    @staticmethod
    def _parsed(version: int, text: bytes) -> Manifest:
        manifest = Manifest.from_json(text.decode(errors="replace"))
        if manifest.model_version != version:
            raise BrokenBundle(f"folder {version} holds model_version {manifest.model_version}")
        return manifest

    def _check_arrays(self, version: int, entries: Mapping[str, Entry]) -> None:
        """Copy no large array that is not as long as its header says."""
        for name, entry in entries.items():
            if not name.endswith(".npy") or entry.size < LARGE_BYTES:
                continue
            place = f"{self._root}/{version}/{name}"
            try:
                parse_header(self._files.cat_file(place, start=0, end=HEAD_BYTES), entry.size)
            except ValueError as error:
                raise BrokenBundle(f"{name}: {error}") from error

    def _copy(self, version: int, folder: Path, manifest: Manifest) -> None:
        for name in manifest.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._files.get_file(f"{self._root}/{version}/{name}", str(target))
            except FileNotFoundError as error:
                raise BrokenBundle(f"missing files: {name}; copy the bundle again") from error


def _entry(told: Mapping[str, Any]) -> Entry:
    if told.get("islink"):
        return Entry("link", 0)
    return Entry("file" if told["type"] == "file" else "other", told["size"] or 0)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"a copy needs {needed} bytes, the disk has {free} left; make room or name another "
            "folder",
            str(folder),
        )
