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


class Counted:
    """Counts the chunks that are assigned, and fails at one of them."""

    def __init__(self, fail_at: int = -1) -> None:
        self.calls = 0
        self._fail_at = fail_at
        self._assign = Codebooks.assign

    def assign(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        """Assign a chunk by the codebooks of this test."""
        if self.calls == self._fail_at:
            raise RuntimeError("killed")
        self.calls += 1
        return self._assign(codebooks(), vectors)


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


def test_a_failure_leaves_no_file_that_others_read(tmp_path: Path) -> None:
    """A vector that is not finite ends the assignment, and no half of its files has their name."""
    vectors = users(20_000)
    vectors[-1, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        assign_all(vectors, codebooks(), tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".partial"}


@pytest.mark.parametrize("failed_at", [0, 1, 3, 5])
@pytest.mark.parametrize("torn", [0, 5])
def test_an_assignment_that_failed_goes_on_at_its_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed_at: int, torn: int
) -> None:
    """Finished chunks are not assigned again, torn rows are, and files and figures are the same."""
    monkeypatch.setattr(offline.assignment, "ROWS_AT_ONCE", 50)
    (tmp_path / "whole").mkdir()
    whole = assign_all(users(300), codebooks(), tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(Codebooks, "assign", Counted(fail_at=failed_at).assign)
        with pytest.raises(RuntimeError, match="killed"):
            assign_all(users(300), codebooks(), tmp_path, threads=1)
    for left in tmp_path.glob("residual_norms*"):
        with left.open("ab") as file:
            file.write(b"\0" * torn)
    counted = Counted()
    monkeypatch.setattr(Codebooks, "assign", counted.assign)
    assert assign_all(users(300), codebooks(), tmp_path) == whole
    assert counted.calls == 6 - failed_at
    files = {"codes.npy", "residual_norms.npy"}
    assert {path.name for path in tmp_path.iterdir()} == {"whole", *files}
    for name in files:
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_chunks_of_other_codebooks_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an assignment by other codebooks or of other users left is removed, not mixed in."""
    monkeypatch.setattr(offline.assignment, "ROWS_AT_ONCE", 50)
    broken = users(300)
    broken[-1, 3] = np.nan
    other = Codebooks(codebooks().centroids[:, ::-1])
    with pytest.raises(ValueError, match="not finite"):
        assign_all(broken, other, tmp_path)
    assign_all(users(300), codebooks(), tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), codebooks().assign(users(300)))
    assert {path.name for path in tmp_path.iterdir()} == {"codes.npy", "residual_norms.npy"}


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
