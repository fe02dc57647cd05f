"""Vectors on disk: rows of one .npy file, read piece by piece."""

from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

ENOUGH_ROWS = 1_000_000
FINGERPRINT_ROWS = 1024


class Vectors(Protocol):
    """N rows of D numbers: an array, or a file too large to hold."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, D)``."""

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.float32]:
        """float32 ``[n, D]``: a run of rows, or chosen rows."""


class VectorFile:
    """A float32 ``[N, D]`` file of which only the rows asked for are ever in memory.

    A memory map would do the same but for the accounts: its pages count as the process's own, and
    a file of 10 GB looks like a leak to whoever limits memory.
    """

    def __init__(self, path: Path) -> None:
        """Read the file's header.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is no float32 matrix in rows, or shorter than its header says.
        """
        self._path = path
        with path.open("rb") as file:
            major, _ = npy.read_magic(file)
            read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            self._start = file.tell()
        if dtype != np.dtype("<f4") or len(shape) != 2 or by_columns:
            order = "columns" if by_columns else "rows"
            raise ValueError(
                f"{path} holds {dtype} {shape} in {order}, expected float32 [N, D] in rows"
            )
        self._rows, self._width = int(shape[0]), int(shape[1])
        if path.stat().st_size < self._start + 4 * self._rows * self._width:
            raise ValueError(f"{path} is cut short: its header says {shape}; write it again")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, D)``."""
        return self._rows, self._width

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.float32]:
        """float32 ``[n, D]``: a run of rows, or chosen rows (quickest when they increase)."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self._rows)
            return self._run(start, max(0, stop - start))
        picked = [self._run(int(row), 1) for row in rows]
        return np.concatenate([np.empty((0, self._width), np.float32), *picked])

    def _run(self, row: int, count: int) -> NDArray[np.float32]:
        offset = self._start + 4 * self._width * row
        flat = np.fromfile(self._path, np.float32, count * self._width, offset=offset)
        return flat.reshape(count, self._width)


def fingerprint(vectors: Vectors) -> str:
    """Which vectors these are, as a few letters; of very many rows, a part tells.

    Args:
        vectors: float32 ``[N, D]``.
    """
    sha = sha256(repr(vectors.shape).encode())
    step = max(1, -(-vectors.shape[0] // FINGERPRINT_ROWS))
    sha.update(vectors[np.arange(0, vectors.shape[0], step)].tobytes())
    return sha.hexdigest()[:16]


def evenly_spaced(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """A million evenly spaced rows of very many; all rows of fewer.

    Args:
        rows: float32 ``[N, D]``, perhaps mapped from a file.

    Returns:
        float32 ``[n, D]``, a view.
    """
    return rows[:: max(1, -(-len(rows) // ENOUGH_ROWS))]
