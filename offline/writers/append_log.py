"""The append-only log: lines with checksums in numbered shards, safe against kill at any moment."""

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
_OWNERS_ALONE = 0o600
"""The lines are texts about users."""
_LINE = re.compile(rb"([0-9a-f]{8}) (.*)\n")


class Entry(NamedTuple):
    """One whole line."""

    payload: bytes
    """What was appended."""
    shard: Path
    """The file it stands in."""
    offset: int
    """Where the line begins, in bytes."""


@dataclass
class _OpenShard:
    descriptor: int
    path: Path
    size: int


class AppendLog:
    """Shards ``<name>-<number>.log`` in one folder.

    Every process appends to a shard of its own, so that none ever writes behind the torn line that
    another left when it was killed, and several may run at once.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Name the log; nothing is opened yet.

        Args:
            folder: made when first needed.
            name: of lower-case letters.
        """
        self._folder = folder
        self._name = name
        self._shard: _OpenShard | None = None
        self.damaged = 0
        """Lines that the last reading left out because they were torn or altered."""

    def entries(self) -> Iterator[Entry]:
        """All whole lines, oldest shard first.

        Yields:
            Each line whose checksum holds. A torn end or an altered line is left out and counted.
        """
        self.damaged = 0
        for shard in sorted(self._folder.glob(f"{self._name}-*.log")):
            offset = 0
            with shard.open("rb") as file:
                for line in file:
                    payload = _payload(line)
                    if payload is None:
                        self.damaged += 1
                    else:
                        yield Entry(payload, shard, offset)
                    offset += len(line)

    def append(self, payload: bytes) -> Entry:
        """Append one line; it is whole, or left out by every later reading.

        Args:
            payload: without line breaks.

        Returns:
            Where it stands.

        Raises:
            OSError: when the disk refuses.
        """
        shard = self._shard = self._shard or self._new_shard()
        line = b"%08x %s\n" % (zlib.crc32(payload), payload)
        offset = shard.size
        try:
            shard.size += _write_whole(shard.descriptor, line)
        except OSError:
            self.close()  # nothing may stand behind a torn line
            raise
        return Entry(payload, shard.path, offset)

    @property
    def is_open(self) -> bool:
        """Whether this process has a shard to append to."""
        return self._shard is not None

    def close(self) -> None:
        """Give the file back; a later ``append`` opens a new shard."""
        if self._shard is not None:
            os.close(self._shard.descriptor)
            self._shard = None

    def _new_shard(self) -> _OpenShard:
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self._folder.glob(f"{self._name}-*.log")))
        while True:
            path = self._folder / f"{self._name}-{number:06d}.log"
            try:
                descriptor = os.open(path, _NEW, _OWNERS_ALONE)
            except FileExistsError:  # another process took this number
                number += 1
            else:
                return _OpenShard(descriptor, path, 0)


def read_entry(entry: tuple[Path, int]) -> bytes | None:
    """Read one line again.

    Args:
        entry: its shard and offset.

    Returns:
        The payload, or None when the line is no longer whole.
    """
    shard, offset = entry
    with shard.open("rb") as file:
        file.seek(offset)
        return _payload(file.readline())


def _payload(line: bytes) -> bytes | None:
    found = _LINE.fullmatch(line)
    if found is None or int(found[1], 16) != zlib.crc32(found[2]):
        return None
    return found[2]


def _write_whole(descriptor: int, line: bytes) -> int:
    written = 0
    while written < len(line):
        written += os.write(descriptor, line[written:])
    return written
