"""A shelf: the rows of one kind, from waiting to whole files. Used by the log's thread alone."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from model.served_log import SUFFIX
from service.feedback.part import OpenPart, Part, Row

ROWS_AT_ONCE = 256
"""Of a row group, when they come fast enough."""
PART_BYTES = 64 << 20
"""A file that has grown to this is closed, however young."""


@dataclass(frozen=True)
class Finished:
    """What stands in a whole file now and did not before."""

    rows: int = 0
    size_bytes: int = 0


class Shelf:
    """Collects rows into row groups and row groups into files."""

    def __init__(self, folder: Path, writer: str, open_part: OpenPart, rotate_s: float) -> None:
        """Begin without a file.

        Args:
            folder: whose name is the kind of its rows; made when it is not there.
            writer: unique among those that write to this folder.
            open_part: opens a file.
            rotate_s: age at which a file is closed, in seconds.
        """
        self._folder = folder
        self._writer = writer
        self._open_part = open_part
        self._rotate_s = rotate_s
        self._numbers = itertools.count()
        self._waiting: list[Row] = []
        self._part: Part | None = None
        self._unfinished = 0
        self._due_s: float | None = None

    @property
    def due_s(self) -> float | None:
        """When its file shall be closed, on the monotonic clock; None: there is nothing."""
        return self._due_s

    def put(self, rows: Sequence[Row]) -> Finished:
        """Take rows, and write when there are enough.

        Raises:
            UnwritablePart: when the disk does not allow it.
        """
        if self._due_s is None:
            self._due_s = time.monotonic() + self._rotate_s
        self._waiting += rows
        self._unfinished += len(rows)
        if len(self._waiting) < ROWS_AT_ONCE:
            return Finished()
        self._write()
        grown = self._part is not None and self._part.size_bytes >= PART_BYTES
        return self.finish() if grown else Finished()

    def finish(self) -> Finished:
        """Close the file, so that readers see it; raises as ``put``."""
        if self._waiting:
            self._write()
        if self._part is None:
            return Finished()
        self._part.finish()
        finished = Finished(self._unfinished, self._part.size_bytes)
        self._begin_anew()
        return finished

    def abandon(self) -> int:
        """Give up what is not in a whole file yet.

        Returns:
            How many rows that were.
        """
        if self._part is not None:
            self._part.abandon()
        lost = self._unfinished
        self._begin_anew()
        return lost

    def _write(self) -> None:
        if self._part is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._part = self._open_part(self._folder.name, self._folder / self._name())
        self._part.add(self._waiting)
        self._waiting = []

    def _begin_anew(self) -> None:
        self._waiting, self._part, self._unfinished, self._due_s = [], None, 0, None

    def _name(self) -> str:
        # Names sort by time, which is how a request is found in the newest files first.
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        return f"{stamp}-{self._writer}-{next(self._numbers)}{SUFFIX}"
