"""Assignment: everybody's group in chunks, equal to one by one, whole files or none."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import offline.assignment
from model.codebooks import Codebooks
from offline.assignment import assign_all
from offline.vectors import VectorFile

LEVELS, CODES, WIDTH = 3, 7, 12


def codebooks() -> Codebooks:
    """Random codebooks whose levels shrink."""
    random = np.random.default_rng(0)
    scale = 0.5 ** np.arange(LEVELS)[:, None, None]
    return Codebooks((random.normal(size=(LEVELS, CODES, WIDTH)) * scale).astype(np.float32))


def users(rows: int = 1000) -> NDArray[np.float32]:
    """Random users; each tenth is unknown."""
    vectors = np.random.default_rng(1).normal(size=(rows, WIDTH)).astype(np.float32)
    vectors[::10] = 0
    return vectors


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("chunk_rows", [1, 99, 8192])
def test_chunks_and_threads_do_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, chunk_rows: int
) -> None:
    """From memory or from a file, in any chunks, by any threads: what one user alone would get."""
    monkeypatch.setattr(offline.assignment, "ROWS_AT_ONCE", chunk_rows)
    np.save(tmp_path / "embeddings.npy", users(300))
    assign_all(VectorFile(tmp_path / "embeddings.npy"), codebooks(), tmp_path, threads)
    codes = codebooks().assign(users(300))
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), codes)
    norms = codebooks().residual_norms(users(300), codes)
    np.testing.assert_array_equal(np.load(tmp_path / "residual_norms.npy"), norms)


def test_files_are_plain_arrays_that_can_be_mapped(tmp_path: Path) -> None:
    """``codes.npy`` and ``residual_norms.npy`` open as memory maps of their types, alone there."""
    assign_all(users(), codebooks(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"codes.npy", "residual_norms.npy"}
    codes = np.load(tmp_path / "codes.npy", mmap_mode="r", allow_pickle=False)
    norms = np.load(tmp_path / "residual_norms.npy", mmap_mode="r", allow_pickle=False)
    assert (codes.dtype, codes.shape) == (np.int32, (1000, LEVELS))
    assert (norms.dtype, norms.shape) == (np.float32, (1000, LEVELS))


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    """A vector that is not finite ends the assignment, and nothing half-written stays."""
    vectors = users(20_000)
    vectors[-1, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        assign_all(vectors, codebooks(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nobody_known_is_an_error(tmp_path: Path) -> None:
    """Without a single profile there are no groups to speak of."""
    with pytest.raises(ValueError, match="nobody has a group"):
        assign_all(np.zeros((5, WIDTH), np.float32), codebooks(), tmp_path)


def test_diagnostics_say_how_users_are_divided(tmp_path: Path) -> None:
    """Energy, utilisation, perplexity and largest share are those computed by hand."""
    found = assign_all(users(), codebooks(), tmp_path)
    known = users()[users().any(axis=1)]
    codes = codebooks().encode(known)
    for level, diagnostics in enumerate(found):
        left = codebooks().residuals(known, codes[:, : level + 1])
        counts = np.bincount(codes[:, level], minlength=CODES) / len(known)
        used = counts[counts > 0]
        assert diagnostics.level == level + 1
        assert diagnostics.residual_energy == pytest.approx(np.sum(left**2) / np.sum(known**2))
        assert diagnostics.utilisation == len(used) / CODES
        assert diagnostics.perplexity == pytest.approx(np.exp(-np.sum(used * np.log(used))))
        assert diagnostics.largest_share == counts.max()


def test_diagnostics_of_even_groups(tmp_path: Path) -> None:
    """Users spread evenly over every centroid: all codes in use, nothing left."""
    centroids = np.eye(4, 8, dtype=np.float32)[None]
    vectors = np.repeat(centroids[0], 25, axis=0)
    (level,) = assign_all(vectors, Codebooks(centroids), tmp_path)
    assert level.residual_energy == 0
    assert (level.utilisation, level.largest_share) == (1, 0.25)
    assert level.perplexity == pytest.approx(4)
