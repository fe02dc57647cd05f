"""Vectors on disk: any rows of a large file, and never more than those in memory."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import offline.vectors
from offline.vectors import VectorFile, evenly_spaced

ROWS = np.random.default_rng(0).normal(size=(37, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 37 vectors."""
    written = tmp_path_factory.mktemp("vectors") / "embeddings.npy"
    np.save(written, ROWS)
    return written


@given(start=st.integers(-5, 45), stop=st.integers(-5, 45))
def test_runs_of_rows(path: Path, start: int, stop: int) -> None:
    """A slice of the file is the slice of the array, also beyond its end."""
    np.testing.assert_array_equal(VectorFile(path)[start:stop], ROWS[start:stop])


@given(st.lists(st.integers(0, 36), max_size=20))
def test_chosen_rows(path: Path, chosen: list[int]) -> None:
    """Chosen rows come in the order asked for."""
    rows = np.array(chosen, dtype=np.int64)
    found = VectorFile(path)[rows]
    np.testing.assert_array_equal(found, ROWS[rows])
    assert found.shape == (len(chosen), 5)


def test_the_shape_is_read_without_the_rows(path: Path) -> None:
    """How many users there are stands in the header."""
    assert VectorFile(path).shape == ROWS.shape


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Another type, another order and half a file are named, with what was expected."""
    broken = tmp_path / "embeddings.npy"
    for array, message in (
        (ROWS.astype(np.float64), "float64"),
        (np.asfortranarray(ROWS), "in columns, expected"),
        (ROWS[0], r"\(5,\)"),
    ):
        np.save(broken, array)
        with pytest.raises(ValueError, match=message):
            VectorFile(broken)
    np.save(broken, ROWS)
    broken.write_bytes(broken.read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut short"):
        VectorFile(broken)
    broken.write_bytes(b"user,vector\n")
    with pytest.raises(ValueError, match="magic"):
        VectorFile(broken)


def test_evenly_spaced_rows_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows stay as they are; of many, no more than enough remain, from start to end."""
    np.testing.assert_array_equal(evenly_spaced(ROWS), ROWS)
    assert len(evenly_spaced(ROWS[:0])) == 0
    monkeypatch.setattr(offline.vectors, "ENOUGH_ROWS", 10)
    np.testing.assert_array_equal(evenly_spaced(ROWS), ROWS[::4])
