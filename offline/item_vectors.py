"""Item vectors from purchases before training, by which every model's item table begins."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, eigsh

RMS = 0.1
"""Root mean square of a known item's entries: comparable with a trained row."""
NEGLIGIBLE = 1e-6
"""Share of the largest singular value below which a direction is rounding noise."""


def purchase_svd(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    shape: tuple[int, int],
    width: int,
    seed: int,
) -> NDArray[np.float32]:
    """Factorise the user-item purchase counts (docs/model.md).

    Counts are damped by ``log1p`` and weighted by inverse document frequency, so that what
    everybody buys does not fill every direction.

    Args:
        users: int64 ``[P]`` user positions of purchases strictly before training.
        items: int64 ``[P]`` item rows.
        shape: users and item rows.
        width: directions kept; more than the data's rank leaves the rest zero.
        seed: of the iteration's start.

    Returns:
        float32 ``[item rows, width]``; zero rows for items nobody bought. Signs are fixed, so
        that equal purchases give equal vectors.
    """
    counts = csr_matrix((np.ones(len(users)), (users, items)), shape=shape)
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    buyers = np.asarray((counts > 0).sum(axis=0)).reshape(-1)
    weighted = counts.multiply(np.log((shape[0] + 1) / (buyers + 1))[None, :]).tocsr()
    weighted.eliminate_zeros()
    rank = min(width, min(shape) - 1)
    vectors = np.zeros((shape[1], width), np.float32)
    if rank >= 1 and weighted.nnz:
        directions = _directions(weighted, rank, np.random.default_rng(seed))
        vectors[:, :rank] = (directions * _signs(directions)[:, None]).T
    return _scaled(vectors, buyers > 0)


def _directions(weighted: csr_matrix, rank: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Right singular vectors times the roots of their values, largest first, ``[rank, items]``.

    By the eigenvectors of the smaller side's products: of the solvers only this one takes a
    generator for its restarts, without which equal singular values give other bytes each time.
    """
    few_users = weighted.shape[0] <= weighted.shape[1]
    side = weighted if few_users else weighted.T.tocsr()
    size = side.shape[0]
    products = LinearOperator((size, size), matvec=lambda x: side @ (side.T @ x), dtype=float)
    values, vectors = eigsh(products, k=rank, v0=rng.standard_normal(size), rng=rng)
    singular = np.sqrt(np.maximum(values[::-1], 0))
    known = singular > NEGLIGIBLE * singular.max()
    roots = np.sqrt(np.where(known, singular, 1))[:, None]
    right = (side.T @ vectors[:, ::-1]).T / roots if few_users else vectors[:, ::-1].T * roots
    return np.where(known[:, None], right, 0.0)


def _signs(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(directions).argmax(axis=1)
    return np.where(directions[np.arange(len(directions)), largest] < 0, -1.0, 1.0)


def _scaled(vectors: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    rms = np.sqrt(np.mean(np.square(vectors[known]))) if known.any() else 0.0
    return (vectors * (RMS / rms)).astype(np.float32) if rms > 0 else vectors
