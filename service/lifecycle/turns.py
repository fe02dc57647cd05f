"""Turns at loading: few processes of a machine load at once, so that the others can answer."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_TRY_S = 0.01
CORES_PER_TURN = 4
"""One load for as many cores: it takes a whole one while it lasts."""


class Turns:
    """Locks in a folder that all processes of a machine share; a killed process holds none."""

    def __init__(self, folder: Path, cores: int) -> None:
        """Name the locks.

        Args:
            folder: the private store.
            cores: that the processes share.
        """
        self._folder = folder
        self._places = max(1, cores // CORES_PER_TURN)

    @contextmanager
    def turn(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Wait for a turn and hold it.

        Args:
            waiting: called again and again until then; what it raises ends the wait.

        Raises:
            OSError: when the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while (descriptor := self._taken()) is None:
            waiting()
            time.sleep(_TRY_S)
        try:
            yield
        finally:
            os.close(descriptor)

    def _taken(self) -> int | None:
        """A descriptor that holds the first free place; None: all are taken."""
        for place in range(self._places):
            path = self._folder / f".turn-{place}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return descriptor
        return None
