"""The codebooks: frozen centroids that turn a user vector into a group_id (eq. 2-3)."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.array_file import read_array, write_array

FILE_NAME = "codebooks.npy"
CHUNK_ROWS = 2048


@dataclass(frozen=True, eq=False)
class Codebooks:
    """One codebook of k centroids per level; a code is a row, code k itself means "no group"."""

    centroids: NDArray[np.float32]
    """``[M, k, D]``."""

    def __post_init__(self) -> None:
        """Refuse what is no stack of codebooks.

        Raises:
            ValueError: naming dtype, shape or values and what was expected.
        """
        array = self.centroids
        if array.dtype != np.float32 or array.ndim != 3 or 0 in array.shape:
            raise ValueError(
                f"codebooks are {array.dtype} {array.shape}, expected float32 [M, k, D]"
            )
        if not np.isfinite(array).all():
            raise ValueError("codebooks hold values that are not finite; fit them again")

    @property
    def levels(self) -> int:
        """Number of levels M."""
        return int(self.centroids.shape[0])

    @property
    def codes_per_level(self) -> int:
        """Centroids per level k, which is also the "no group" code."""
        return int(self.centroids.shape[1])

    @property
    def width(self) -> int:
        """Length D of a user vector."""
        return int(self.centroids.shape[2])

    def assign(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        """Group ids of users; nothing known (a zero vector) means no group.

        Args:
            vectors: float32 ``[N, D]``, as ``EncoderBlock.combine`` gives them.

        Returns:
            int32 ``[N, M]``: greedy codes, or k at every level for a zero vector.

        Raises:
            ValueError: as ``encode``.
        """
        codes = self.encode(vectors)
        codes[~vectors.any(axis=1)] = self.codes_per_level
        return codes

    def encode(
        self, vectors: NDArray[np.float32], chunk_rows: int = CHUNK_ROWS
    ) -> NDArray[np.int32]:
        """Greedy codes, level by level; of equally near centroids the lowest index.

        Args:
            vectors: float32 ``[N, D]``.
            chunk_rows: rows worked on at a time; bounds memory, never changes a code.

        Returns:
            int32 ``[N, M]`` in ``[0, k)``.

        Raises:
            ValueError: when the vectors are not finite float32 ``[N, D]``.

        Source: eq. 2-3.
        """
        self._check(vectors)
        codes = np.empty((len(vectors), self.levels), dtype=np.int32)
        for start in range(0, len(vectors), chunk_rows):
            residual = vectors[start : start + chunk_rows]
            for level, centroids in enumerate(self.centroids):
                chosen = nearest(residual, centroids)
                codes[start : start + chunk_rows, level] = chosen
                residual = residual - centroids[chosen]
        return codes

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Sum of the chosen centroids.

        Args:
            codes: int32 ``[N, L]`` with L <= M: codes of the first L levels, in ``[0, k)``.

        Returns:
            float32 ``[N, D]``.
        """
        total = np.zeros((len(codes), self.width), dtype=np.float32)
        for level in range(codes.shape[1]):
            total += self.centroids[level, codes[:, level]]
        return total

    def residuals(
        self, vectors: NDArray[np.float32], codes: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """What the chosen centroids leave unexplained.

        Args:
            vectors: float32 ``[N, D]``.
            codes: int32 ``[N, L]`` with L <= M.

        Returns:
            float32 ``[N, D]``: r^L.

        Source: eq. 3.
        """
        residual = vectors
        for level in range(codes.shape[1]):
            residual = residual - self.centroids[level, codes[:, level]]
        return residual

    def residual_norms(
        self, vectors: NDArray[np.float32], codes: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """How far users lie from their centroids; ``ResidualReference`` makes a confidence of it.

        Args:
            vectors: float32 ``[N, D]``.
            codes: int32 ``[N, M]``, as ``assign`` gives them.

        Returns:
            float32 ``[N, M]``: the Euclidean norm of r^1 to r^M; NaN for users without a group. A
            row does not depend on the other rows.

        Source: eq. 3.
        """
        norms = np.full(codes.shape, np.nan, dtype=np.float32)
        grouped = codes[:, 0] != self.codes_per_level
        residual, known = vectors[grouped], codes[grouped]
        for level in range(self.levels):
            residual = residual - self.centroids[level, known[:, level]]
            norms[grouped, level] = np.sqrt(np.sum(residual * residual, axis=1))
        return norms

    @property
    def digest(self) -> str:
        """SHA-256 over shape and values; part of the feature contract."""
        sha = hashlib.sha256(repr(self.centroids.shape).encode())
        sha.update(np.ascontiguousarray(self.centroids, dtype="<f4").tobytes())
        return sha.hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``codebooks.npy``; equal codebooks give equal bytes.

        Args:
            folder: an existing folder.
        """
        write_array(folder / FILE_NAME, self.centroids)

    @classmethod
    def load(cls, folder: Path) -> "Codebooks":
        """Read what ``save`` wrote.

        Args:
            folder: the folder.

        Returns:
            Codebooks that encode as the saved ones did.

        Raises:
            FileNotFoundError: when there is no ``codebooks.npy``.
            ValueError: when the file is no array or no stack of codebooks.
        """
        return cls(read_array(folder / FILE_NAME))

    def _check(self, vectors: NDArray[np.float32]) -> None:
        if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != self.width:
            raise ValueError(
                f"user vectors are {vectors.dtype} {vectors.shape},"
                f" expected float32 [N, {self.width}]"
            )
        if not np.isfinite(vectors).all():
            row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
            raise ValueError(f"user vector {row} holds values that are not finite")


def nearest(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """Index of the nearest centroid; of equally near ones the lowest.

    A float32 matrix product is quick, but its last bits depend on how many rows go in at once. So
    it only proposes: where several centroids come within its error, exact distances decide.

    Args:
        points: float32 ``[N, D]``.
        centroids: float32 ``[k, D]``.

    Returns:
        int64 ``[N]``. A row does not depend on the other rows.

    Source: eq. 2.
    """
    squares = np.sum(centroids * centroids, axis=1)
    scores = squares - 2.0 * (points @ centroids.T)
    best = scores.min(axis=1)
    scale = np.sum(points * points, axis=1) + squares.max()
    slack = 4.0 * points.shape[1] * np.finfo(np.float32).eps * scale
    proposed = scores <= (best + slack)[:, None]
    chosen: NDArray[np.int64] = np.argmax(proposed, axis=1)
    unsure = np.flatnonzero(np.count_nonzero(proposed, axis=1) > 1)
    if len(unsure):
        chosen[unsure] = _nearest_of(points[unsure], centroids, proposed[unsure])
    return chosen


def _nearest_of(
    points: NDArray[np.float32], centroids: NDArray[np.float32], proposed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Exact argmin over the proposed centroids: in float64, each pair by itself."""
    distances = np.full(proposed.shape, np.inf)
    for code, centroid in enumerate(centroids.astype(np.float64)):
        rows = np.flatnonzero(proposed[:, code])
        gaps = points[rows] - centroid
        distances[rows, code] = np.sum(gaps * gaps, axis=1)
    chosen: NDArray[np.int64] = np.argmin(distances, axis=1)
    return chosen
