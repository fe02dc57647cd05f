"""Parts: what the log asks of whatever writes its files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

Row = Mapping[str, object]
"""One row by column, as ``model.served_log.COLUMNS`` names them."""


class UnwritablePart(OSError):
    """A part that could not be written: why."""


class Part(Protocol):
    """One file being written; under its own name only once it is whole."""

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk so far; the whole file's once it is finished."""
        ...

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows as one row group.

        Raises:
            UnwritablePart: when the disk or a value does not allow it.
        """
        ...

    def finish(self) -> None:
        """Close the file and give it its own name; raises UnwritablePart."""
        ...

    def abandon(self) -> None:
        """Leave nothing behind."""
        ...


OpenPart = Callable[[str, Path], Part]
"""Opens a part: of ``served`` or ``outcomes``, to stand at that path; raises UnwritablePart."""
