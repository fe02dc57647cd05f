"""The row file: a ``.npy`` file written row by row, and gone on with after a kill."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

S = TypeVar("S", np.int32, np.float32)


class RowFile(Generic[S]):
    """The first rows of a matrix, on disk; use ``row_file`` to open one."""

    def __init__(self, file: BinaryIO, path: Path, scalar: type[S], shape: tuple[int, int]) -> None:
        """Take up what a file holds: its whole rows stay, a torn one goes."""
        self._file = file
        self._dtype: np.dtype[S] = np.dtype(scalar).newbyteorder("<")
        self._width = shape[1]
        self._row_bytes: int = self._dtype.itemsize * shape[1]
        header = _header(self._dtype, shape)
        self._start = len(header)
        self.path = path
        """Where the file is for now; an array file once all rows are there."""
        self.rows: int = max(0, path.stat().st_size - self._start) // self._row_bytes
        """Whole rows in it."""
        if self.rows == 0:
            file.seek(0)
            file.write(header)
        self.cut(self.rows)

    def cut(self, rows: int) -> None:
        """Keep the first rows alone.

        Args:
            rows: how many, at most as many as there are.
        """
        self._file.truncate(self._start + rows * self._row_bytes)
        self._file.seek(0, 2)
        self.rows = rows

    def append(self, rows: NDArray[S]) -> None:
        """Write further rows; a kill leaves the whole ones among them.

        Args:
            rows: ``[n, width]`` of the file's type.

        Raises:
            OSError: when the disk refuses.
        """
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self._file.flush()
        self.rows += len(rows)

    def read(self, start: int, count: int) -> NDArray[S]:
        """Read rows that were written; any thread may.

        Args:
            start: the first one.
            count: how many; fewer come back behind the last one.

        Returns:
            ``[n, width]``.
        """
        count = max(0, min(count, self.rows - start))
        offset = self._start + start * self._row_bytes
        flat = np.fromfile(self.path, self._dtype, count * self._width, offset=offset)
        return flat.reshape(count, self._width)


@contextmanager
def row_file(
    path: Path, scalar: type[S], shape: tuple[int, int], identity: str
) -> Iterator[RowFile[S]]:
    """A file to write rows into, which takes its place when the block ends with all rows written.

    A block that fails, or a process that is killed, leaves its rows beside that place, for the next
    block of the same identity to go on behind them. What another identity left is removed.

    Args:
        path: the file's own place, in an existing folder.
        scalar: type of its numbers.
        shape: rows and width of the finished file.
        identity: a few letters that name all that the rows depend on.

    Yields:
        The file, with the rows that are there already.

    Raises:
        ValueError: when the block ends without all rows.
    """
    partial = path.with_name(f"{path.name}.{identity}.partial")
    for left in path.parent.glob(f"{path.name}.*.partial"):
        if left != partial:
            left.unlink()
    partial.touch()
    with partial.open("r+b") as file:
        opened = RowFile(file, partial, scalar, shape)
        yield opened
    if opened.rows != shape[0]:
        raise ValueError(f"{path} has {opened.rows} rows, expected {shape[0]}")
    partial.replace(path)


def _header(dtype: "np.dtype[np.generic]", shape: tuple[int, int]) -> bytes:
    told = BytesIO()
    described = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(told, described)
    return told.getvalue()
