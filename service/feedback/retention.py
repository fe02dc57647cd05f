"""Retention: the log never takes more of the disk than it may, the oldest files go first."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from model.served_log import COLUMNS, SUFFIX

ORPHANED_S = 7200.0
"""An unfinished file that nobody wrote to for so long was left by a process that was killed."""


def retain(folder: Path, most_bytes: int) -> int:
    """Remove the oldest whole files until the rest fits, and what killed processes left.

    Several workers may do this at once.

    Args:
        folder: of the log.
        most_bytes: of all whole files together.

    Returns:
        How many whole files were removed.
    """
    _sweep(folder)
    files = sorted(_sizes(folder))
    excess = sum(size for _, size, _ in files) - most_bytes
    removed = 0
    for _, size, path in files:
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
        removed += 1
    return removed


def _sizes(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When written, bytes and path of every whole file."""
    for kind in COLUMNS:
        for path in (folder / kind).glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):  # another worker was quicker
                status = path.stat()
                yield status.st_mtime, status.st_size, path


def _sweep(folder: Path) -> None:
    for kind in COLUMNS:
        for path in (folder / kind).glob(f".*{SUFFIX}.partial"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - ORPHANED_S:
                    path.unlink()
