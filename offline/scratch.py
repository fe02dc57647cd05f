"""The scratch folder: there for a block, and cleared by the next one when its process is killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "choirrec-scratch-"


@contextmanager
def scratch_folder(kind: str) -> Iterator[Path]:
    """An empty folder among the system's temporary files, removed when the block ends.

    A killed process cannot remove its own; the next process that asks for one of any kind does. A
    folder's lock goes with the process that holds it, so those that are in use stay.

    Args:
        kind: what it is for; part of its name.

    Yields:
        The folder.
    """
    _clear_left_behind()
    folder, lock = _new_folder(kind)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _clear_left_behind() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = _lock(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _new_folder(kind: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-"))
        lock = _lock(folder)
        if lock is not None:
            return folder, lock
        # Another process cleared it away in the moment before it was locked.


def _lock(folder: Path) -> int | None:
    """The locked descriptor of a folder; None when it is in use, gone, or not ours to open."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None
