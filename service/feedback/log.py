"""The log: rows handed over without waiting, written to whole files by a thread of its own."""

import logging
import math
import os
import queue
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.served_log import COLUMNS, OUTCOMES, SERVED, is_sampled
from service.feedback.part import OpenPart, Row
from service.feedback.retention import retain
from service.feedback.shelf import Finished, Shelf
from service.metrics import Metrics

WAITING = 4096
"""Rows that may wait for the thread, about 20 KB each; more are dropped and counted."""
RETAIN_EVERY = 0.01
"""Of the bytes that may be kept: after each such part written, the oldest files are looked for."""
RETAIN_S = 600.0
"""Or after so long: others may write to the same folder."""
END_S = 10.0
"""For the thread to write what waits, at the end."""

_log = logging.getLogger("choirrec")


@dataclass(frozen=True)
class LogRules:
    """Where the log stands and how much of it is kept."""

    folder: Path
    sample: float
    """Of requests, 0 to 1."""
    rotate_s: float
    """Age at which a file is closed and readers see it, in seconds."""
    retain_bytes: int
    """Of all files together."""


def make_folders(folder: Path) -> None:
    """Make the folders of a log, unless they are there.

    Raises:
        OSError: when they cannot be made or written to.
    """
    for kind in COLUMNS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        if not os.access(folder / kind, os.W_OK):
            raise PermissionError(
                f"{folder / kind} cannot be written to: let CHOIRREC_LOG name a folder that "
                "belongs to the service's user"
            )


class ServedLog:
    """Takes rows on the event loop; everything that may wait happens in its thread."""

    def __init__(self, rules: LogRules, open_part: OpenPart, metrics: Metrics) -> None:
        """Make it; ``start`` begins to write.

        Args:
            rules: where and how much.
            open_part: opens files.
            metrics: counts rows written and dropped.
        """
        writer = f"{socket.gethostname()}-{os.getpid()}"
        self._rules = rules
        self._metrics = metrics
        self._shelves = {
            kind: Shelf(rules.folder / kind, writer, open_part, rules.rotate_s) for kind in COLUMNS
        }
        self._queue: queue.SimpleQueue[tuple[str, Sequence[Row]] | None] = queue.SimpleQueue()
        self._offered = 0  # counted by the event loop's thread alone
        self._taken = 0  # counted by the log's thread alone
        self._unchecked_bytes, self._checked_s = 0, -math.inf
        self._thread = threading.Thread(target=self._work, name="served-log", daemon=True)

    def keeps(self, request_id: str) -> bool:
        """Whether a request and its outcomes belong to the sample."""
        return is_sampled(request_id, self._rules.sample)

    def add_served(self, rows: Sequence[Row]) -> bool:
        """Hand over answered requests; False: there is no room, they are dropped and counted."""
        return self._offer(SERVED, rows)

    def add_outcomes(self, rows: Sequence[Row]) -> bool:
        """Hand over outcomes, all or none; as ``add_served``."""
        return self._offer(OUTCOMES, rows)

    def start(self) -> None:
        """Begin to write; raises OSError as ``make_folders``."""
        make_folders(self._rules.folder)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, close every file and end; blocks, ``END_S`` at most."""
        self._queue.put(None)
        self._thread.join(END_S)
        if self._thread.is_alive():
            _log.error("the served log does not keep up with its disk; what waited is lost")

    def _offer(self, kind: str, rows: Sequence[Row]) -> bool:
        if self._offered - self._taken + len(rows) > WAITING:
            self._metrics.log_dropped_rows.labels(kind).inc(len(rows))
            return False
        if rows:
            self._offered += len(rows)
            self._queue.put((kind, rows))
        return True

    def _work(self) -> None:
        while True:
            try:
                taken = self._queue.get(timeout=self._pause_s())
            except queue.Empty:
                self._finish_due()
                continue
            if taken is None:
                break
            kind, rows = taken
            self._put(kind, rows)
            self._taken += len(rows)
            self._finish_due()
        for kind in self._shelves:
            self._finish(kind)

    def _pause_s(self) -> float | None:
        dues = [shelf.due_s for shelf in self._shelves.values() if shelf.due_s is not None]
        return max(min(dues) - time.monotonic(), 0.0) if dues else None

    def _finish_due(self) -> None:
        for kind, shelf in self._shelves.items():
            if shelf.due_s is not None and shelf.due_s <= time.monotonic():
                self._finish(kind)

    def _put(self, kind: str, rows: Sequence[Row]) -> None:
        shelf = self._shelves[kind]
        try:
            self._count(kind, shelf.put(rows))
        except Exception as error:  # one row that cannot be written must not end the log
            self._give_up(kind, error)

    def _finish(self, kind: str) -> None:
        try:
            self._count(kind, self._shelves[kind].finish())
        except Exception as error:
            self._give_up(kind, error)

    def _count(self, kind: str, finished: Finished) -> None:
        self._metrics.log_rows.labels(kind).inc(finished.rows)
        self._unchecked_bytes += finished.size_bytes
        most, now_s = self._rules.retain_bytes, time.monotonic()
        if self._unchecked_bytes > most * RETAIN_EVERY or now_s > self._checked_s + RETAIN_S:
            self._unchecked_bytes, self._checked_s = 0, now_s
            retain(self._rules.folder, most)

    def _give_up(self, kind: str, error: Exception) -> None:
        lost = self._shelves[kind].abandon()
        self._metrics.log_dropped_rows.labels(kind).inc(lost)
        _log.error("served log: %d rows of %s are lost: %s", lost, kind, error)
