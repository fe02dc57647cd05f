"""Assignment: the group and the residuals of every user, chunk by chunk."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.codebooks import Codebooks
from offline.one_thread import products_on_one_thread
from offline.progress import track_rows
from offline.row_file import RowFile, row_file
from offline.vectors import Vectors, fingerprint

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

    start: int
    codes: NDArray[np.int32]
    norms: NDArray[np.float32]
    energy: float


def assign_all(
    vectors: Vectors, codebooks: Codebooks, folder: Path, threads: int = THREADS
) -> tuple[LevelDiagnostics, ...]:
    """Assign every user to a group by frozen codebooks, and write codes and residual norms.

    Memory holds a few chunks, however many users there are. The codes are those that
    ``Codebooks.assign`` gives one by one, in the service as here. An assignment that failed or was
    killed goes on at the chunk it was in, to equal bytes.

    Args:
        vectors: float32 ``[N, D]``.
        codebooks: the codebooks.
        folder: an existing folder. ``codes.npy`` int32 ``[N, M]`` and ``residual_norms.npy``
            float32 ``[N, M]`` (NaN without a group) appear whole or not at all; equal vectors
            give equal bytes, with any number of threads. Finished chunks lie there meanwhile.
        threads: chunks worked on at once.

    Returns:
        Diagnostics per level, over the users that have a group.

    Raises:
        ValueError: when the vectors are not finite float32 ``[N, D]``, or no user has a group.

    Source: eq. 2-3; docs/groups.md.
    """
    shape = (vectors.shape[0], codebooks.levels)
    identity = _identity(vectors, codebooks)
    energy = np.zeros(codebooks.levels + 1)
    counts = np.zeros((codebooks.levels, codebooks.codes_per_level + 1), dtype=np.int64)
    with (
        row_file(folder / CODES, np.int32, shape, identity) as codes,
        row_file(folder / NORMS, np.float32, shape, identity) as norms,
    ):
        kept = _keep_chunks(codes, norms)
        work = partial(_work, vectors, codebooks, kept)
        for chunk in _in_order(work, vectors.shape[0], threads):
            if chunk.start >= kept.rows:
                codes.append(chunk.codes)
                norms.append(chunk.norms)
            energy[0] += chunk.energy
            energy[1:] += np.nansum(chunk.norms.astype(np.float64) ** 2, axis=0)
            for level, column in enumerate(chunk.codes.T):
                counts[level] += np.bincount(column, minlength=counts.shape[1])
        return _diagnostics(energy, counts[:, :-1])


@dataclass(frozen=True, eq=False)
class _Kept:
    """Whole chunks that an earlier assignment left."""

    rows: int
    codes: RowFile[np.int32]
    norms: RowFile[np.float32]


def _identity(vectors: Vectors, codebooks: Codebooks) -> str:
    told = (codebooks.digest, fingerprint(vectors), ROWS_AT_ONCE)
    return sha256(repr(told).encode()).hexdigest()[:16]


def _keep_chunks(codes: RowFile[np.int32], norms: RowFile[np.float32]) -> _Kept:
    rows = min(codes.rows, norms.rows)
    rows -= rows % ROWS_AT_ONCE
    codes.cut(rows)
    norms.cut(rows)
    return _Kept(rows, codes, norms)


def _in_order(work: Callable[[int], _Chunk], rows: int, threads: int) -> Iterator[_Chunk]:
    """All chunks in order; a few are worked on ahead of the one that is asked for."""
    starts = iter(range(0, rows, ROWS_AT_ONCE))
    # The threads share out the chunks; a matrix product that starts more of them only waits.
    alone = products_on_one_thread()
    with alone, ThreadPoolExecutor(threads) as pool, track_rows("assignment", rows) as advance:
        ahead = deque(pool.submit(work, start) for start in islice(starts, 2 * threads))
        while ahead:
            chunk = ahead.popleft().result()
            ahead.extend(pool.submit(work, start) for start in islice(starts, 1))
            yield chunk
            advance(len(chunk.codes))


def _work(vectors: Vectors, codebooks: Codebooks, kept: _Kept, start: int) -> _Chunk:
    """Assign a chunk, or read what was kept of it; its energy is summed again either way."""
    chunk = vectors[start : start + ROWS_AT_ONCE]
    energy = float(np.sum(np.square(chunk), dtype=np.float64))
    if start < kept.rows:
        codes, norms = kept.codes.read(start, len(chunk)), kept.norms.read(start, len(chunk))
    else:
        codes = codebooks.assign(chunk)
        norms = codebooks.residual_norms(chunk, codes)
    return _Chunk(start, codes, norms, energy)


def _diagnostics(
    energy: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[LevelDiagnostics, ...]:
    if not counts.any():
        raise ValueError(
            "no user has a vector, so nobody has a group; expected one user at least of whom"
            " something is known and whose profile differs from the others'"
        )
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
