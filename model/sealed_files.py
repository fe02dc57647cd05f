"""The sealed files: a bundle's files as its manifest names them, of bounded size, hashed."""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from model.array_file import ArrayHeader, read_header
from model.evaluation import EVALUATION_FILE, MAX_EVALUATION_BYTES, REPORT_FILE
from model.manifest import MANIFEST, MAX_MANIFEST_BYTES, BrokenBundle, Manifest
from model.pause import Pause, no_pause

MIB = 2**20
MAX_BUNDLE_BYTES = 64 * 2**30
MAX_FILES = 10_000
MAX_BYTES: Mapping[str, int] = {
    MANIFEST: MAX_MANIFEST_BYTES,
    EVALUATION_FILE: MAX_EVALUATION_BYTES,
    REPORT_FILE: MAX_EVALUATION_BYTES,
    "golden.json": 4 * MIB,
    "reference.json": MIB,
    "model_card.md": MIB,
}
"""Of single files; what is read whole must not fill the memory."""
MAX_BYTES_BY_SUFFIX: Mapping[str, int] = {
    ".onnx": 64 * MIB,
    ".json": 64 * MIB,
    ".npy": MAX_BUNDLE_BYTES,
}
"""Of all others, and the only kinds there are; arrays are mapped, and as long as they say."""


@dataclass(frozen=True)
class Entry:
    """Something that stands in a bundle's folder."""

    kind: Literal["file", "link", "other"]
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Stamp:
    """Which bytes a path led to: any write or exchange since shows in one of these."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """The stamp in a file's status."""
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


def check_entries(entries: Mapping[str, Entry], named: Iterable[str]) -> None:
    """Refuse links, files that are missing or too many, and files that are too large.

    Args:
        entries: what stands in the folder, by path relative to it; folders are not listed.
        named: the files that must be there; the manifest may be.

    Raises:
        BrokenBundle: naming the file and what is wrong with it.
    """
    wanted = set(named)
    for name, entry in sorted(entries.items()):
        if entry.kind == "link":
            raise BrokenBundle(f"{name}: a link; bundles hold plain files only")
        if entry.kind == "other":
            raise BrokenBundle(f"{name}: neither a file nor a folder")
    if missing := sorted(wanted - set(entries)):
        raise BrokenBundle(f"missing files: {', '.join(missing[:5])}; copy the bundle again")
    if extra := sorted(set(entries) - wanted - {MANIFEST}):
        raise BrokenBundle(f"files the manifest does not name: {', '.join(extra[:5])}")
    check_size("", sum(entry.size for entry in entries.values()), MAX_BUNDLE_BYTES)
    for name, entry in entries.items():
        check_size(f"{name}: ", entry.size, _most(name))


def check_size(what: str, size: int, most: int) -> None:
    """Refuse what is larger than it may be.

    Raises:
        BrokenBundle: with both sizes.
    """
    if size > most:
        raise BrokenBundle(f"{what}{size} bytes, at most {most} are accepted")


def read_manifest(folder: Path) -> bytes:
    """The manifest's bytes.

    Raises:
        BrokenBundle: when there is none, or when it is a link or too large.
    """
    path = folder / MANIFEST
    if path.is_symlink():
        raise BrokenBundle(f"{MANIFEST}: a link; bundles hold plain files only")
    if not path.is_file():
        raise BrokenBundle(f"{folder.name}: no {MANIFEST}; the bundle is unfinished or half-copied")
    check_size(f"{MANIFEST}: ", path.stat().st_size, MAX_MANIFEST_BYTES)
    return path.read_bytes()


def list_entries(folder: Path) -> Mapping[str, Entry]:
    """Everything below a folder but folders, by path relative to it; links are not followed.

    Raises:
        BrokenBundle: when there is more than a bundle can hold.
    """
    entries: dict[str, Entry] = {}
    folders = [folder]
    while folders:
        for found in os.scandir(folders.pop()):
            path = Path(found.path)
            if found.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                entries[path.relative_to(folder).as_posix()] = _entry(found)
            if len(entries) + len(folders) > MAX_FILES:
                raise BrokenBundle(f"{folder.name}: more than {MAX_FILES} files and folders")
    return entries


def verify_files(
    folder: Path, manifest: Manifest, needed: Iterable[str], pause: Pause = no_pause
) -> Mapping[str, Stamp]:
    """Check that a folder holds exactly the files that its manifest hashed.

    What is cheap comes first: nothing is read before names and sizes are right, and no array is
    hashed that is not as long as its header says.

    Args:
        folder: the bundle.
        manifest: its manifest.
        needed: files that every bundle has.
        pause: called after every MiB and every file.

    Returns:
        What was hashed, by name.

    Raises:
        BrokenBundle: naming the file and what is wrong with it.
    """
    check_entries(list_entries(folder), {*manifest.files, *needed})
    if unnamed := sorted(set(needed) - set(manifest.files)):
        raise BrokenBundle(f"files the manifest does not name: {', '.join(unnamed)}")
    for name in manifest.files:
        if name.endswith(".npy"):
            _header(folder, name)
    pause()
    return {name: _verified(folder, name, digest, pause) for name, digest in manifest.files.items()}


def check_unchanged(folder: Path, stamps: Mapping[str, Stamp]) -> None:
    """Check that what was opened by name since is what was hashed.

    Args:
        folder: the bundle.
        stamps: what was hashed.

    Raises:
        BrokenBundle: naming the file that somebody wrote or exchanged meanwhile.
    """
    for name, stamp in stamps.items():
        try:
            same = Stamp.of((folder / name).lstat()) == stamp
        except OSError:
            same = False
        if not same:
            raise BrokenBundle(f"{name}: changed while it was verified; who writes there?")


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a regular file's bytes; a link is refused.

    Raises:
        BrokenBundle: when the path is a link or no regular file.
    """
    return _hashed(path, no_pause)[0]


def _hashed(path: Path, pause: Pause) -> tuple[str, Stamp]:
    try:
        # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BrokenBundle(f"{path.name}: cannot be opened as a plain file ({error})") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BrokenBundle(f"{path.name}: neither a file nor a folder")
        digest = sha256()
        while block := file.read(MIB):
            digest.update(block)
            pause()
    return digest.hexdigest(), Stamp.of(status)


def _verified(folder: Path, name: str, promised: str, pause: Pause) -> Stamp:
    digest, stamp = _hashed(folder / name, pause)
    if digest != promised:
        raise BrokenBundle(f"{name}: SHA-256 differs from the manifest's; copy it again")
    return stamp


def _header(folder: Path, name: str) -> ArrayHeader:
    try:
        return read_header(folder / name)
    except (OSError, ValueError) as error:
        raise BrokenBundle(f"{name}: {error}") from error


def _entry(found: "os.DirEntry[str]") -> Entry:
    if found.is_symlink():
        return Entry("link", 0)
    status = found.stat(follow_symlinks=False)
    return Entry("file" if stat.S_ISREG(status.st_mode) else "other", status.st_size)


def _most(name: str) -> int:
    suffix = Path(name).suffix
    if name not in MAX_BYTES and suffix not in MAX_BYTES_BY_SUFFIX:
        raise BrokenBundle(
            f"{name}: a bundle holds {', '.join(MAX_BYTES_BY_SUFFIX)} and no other kind of file"
        )
    return MAX_BYTES.get(name) or MAX_BYTES_BY_SUFFIX[suffix]
