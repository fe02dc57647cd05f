"""Assignment: the group and the residuals of every user, chunk by chunk."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from model.codebooks import Codebooks
from offline.progress import track_rows
from offline.vectors import Vectors

CODES = "codes.npy"
NORMS = "residual_norms.npy"
THREADS = 2
ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class LevelDiagnostics:
    """How well one level divides the users that have a group."""

    level: int
    residual_energy: float
    """Energy left after this level over the energy of the vectors; falls from level to level."""
    utilisation: float
    """Share of the codes that somebody has."""
    perplexity: float
    """Codes in effective use: exp of the entropy of the code."""
    largest_share: float
    """Share of users with the most frequent code."""


@dataclass(frozen=True, eq=False)
class _Chunk:
    """A run of users after assignment."""

    codes: NDArray[np.int32]
    norms: NDArray[np.float32]
    energy: float


def assign_all(
    vectors: Vectors, codebooks: Codebooks, folder: Path, threads: int = THREADS
) -> tuple[LevelDiagnostics, ...]:
    """Assign every user to a group by frozen codebooks, and write codes and residual norms.

    Memory holds a few chunks, however many users there are. The codes are those that
    ``Codebooks.assign`` gives one by one, in the service as here.

    Args:
        vectors: float32 ``[N, D]``.
        codebooks: the codebooks.
        folder: an existing folder. ``codes.npy`` int32 ``[N, M]`` and ``residual_norms.npy``
            float32 ``[N, M]`` (NaN without a group) appear whole or not at all; equal vectors
            give equal bytes, with any number of threads.
        threads: chunks worked on at once.

    Returns:
        Diagnostics per level, over the users that have a group.

    Raises:
        ValueError: when the vectors are not finite float32 ``[N, D]``, or no user has a group.

    Source: eq. 2-3; docs/groups.md.
    """
    shape = (vectors.shape[0], codebooks.levels)
    energy = np.zeros(codebooks.levels + 1)
    counts = np.zeros((codebooks.levels, codebooks.codes_per_level + 1), dtype=np.int64)
    with _rows(folder / CODES, "<i4", shape) as codes, _rows(folder / NORMS, "<f4", shape) as norms:
        for chunk in _chunks(vectors, codebooks, threads):
            codes.write(chunk.codes.tobytes())
            norms.write(chunk.norms.tobytes())
            energy[0] += chunk.energy
            energy[1:] += np.nansum(chunk.norms.astype(np.float64) ** 2, axis=0)
            for level, column in enumerate(chunk.codes.T):
                counts[level] += np.bincount(column, minlength=counts.shape[1])
    return _diagnostics(energy, counts[:, :-1])


def _chunks(vectors: Vectors, codebooks: Codebooks, threads: int) -> Iterator[_Chunk]:
    """All chunks in order; a few are worked on ahead of the one that is asked for."""
    starts = iter(range(0, vectors.shape[0], ROWS_AT_ONCE))
    bar = track_rows("assignment", vectors.shape[0])
    # The threads share out the chunks; a matrix product that starts more of them only waits.
    alone = threadpool_limits(limits=1, user_api="blas")
    with alone, ThreadPoolExecutor(threads) as pool, bar as advance:
        ahead = deque(
            pool.submit(_assign, vectors, codebooks, start) for start in islice(starts, 2 * threads)
        )
        while ahead:
            chunk = ahead.popleft().result()
            ahead.extend(
                pool.submit(_assign, vectors, codebooks, start) for start in islice(starts, 1)
            )
            yield chunk
            advance(len(chunk.codes))


def _assign(vectors: Vectors, codebooks: Codebooks, start: int) -> _Chunk:
    chunk = vectors[start : start + ROWS_AT_ONCE]
    codes = codebooks.assign(chunk)
    energy = float(np.sum(np.square(chunk), dtype=np.float64))
    return _Chunk(codes, codebooks.residual_norms(chunk, codes), energy)


@contextmanager
def _rows(path: Path, dtype: str, shape: tuple[int, int]) -> Iterator[BinaryIO]:
    """A file to write rows into, in order; it gets its name once all are written."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            header = {"descr": dtype, "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(file, header)
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _diagnostics(
    energy: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[LevelDiagnostics, ...]:
    if not counts.any():
        raise ValueError("no user has a profile, so nobody has a group; expected at least one")
    shares = counts / counts.sum(axis=1, keepdims=True)
    return tuple(
        _level(level + 1, energy[level + 1] / energy[0], shares[level])
        for level in range(len(shares))
    )


def _level(level: int, residual_energy: float, shares: NDArray[np.float64]) -> LevelDiagnostics:
    used = shares[shares > 0]
    return LevelDiagnostics(
        level=level,
        residual_energy=float(residual_energy),
        utilisation=len(used) / len(shares),
        perplexity=float(np.exp(-np.sum(used * np.log(used)))),
        largest_share=float(used.max()),
    )
