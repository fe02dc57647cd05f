"""The array file: equal arrays as equal bytes, and no half of one is ever read."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from model.array_file import read_array, write_array


@given(arrays(np.float32, array_shapes(max_side=4), elements=st.floats(width=32)))
def test_arrays_come_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray[tuple[int, ...], np.dtype]
) -> None:
    """What is read is what was written, whatever its shape and order in memory."""
    folder = tmp_path_factory.mktemp("arrays")
    write_array(folder / "rows.npy", array)
    write_array(folder / "columns.npy", np.asfortranarray(array))
    assert read_array(folder / "rows.npy").tobytes() == array.tobytes()
    assert (folder / "rows.npy").read_bytes() == (folder / "columns.npy").read_bytes()


@pytest.mark.parametrize("length", [0, 3, 100, 131])
def test_a_file_cut_short_is_named(tmp_path: Path, length: int) -> None:
    """Wherever a copy was cut off, the error names the file."""
    path = tmp_path / "rows.npy"
    write_array(path, np.ones(4, np.float32))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"rows.npy: no array can be read"):
        read_array(path)


def test_an_absent_file_is_no_array(tmp_path: Path) -> None:
    """A missing file is told from a broken one."""
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "rows.npy")
