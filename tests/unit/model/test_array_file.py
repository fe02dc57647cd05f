"""The array file: what was written is mapped, and a file that lies about its size is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.array_file import map_array, read_array, read_header, write_array

floats = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, min_side=0, max_side=5))


@given(floats)
def test_an_array_is_read_and_mapped_as_written(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray
) -> None:
    """Any float32 array comes back to the bit, whatever its shape and order in memory."""
    path = tmp_path_factory.mktemp("array") / "a.npy"
    write_array(path, np.asfortranarray(array))
    by_columns = path.read_bytes()
    write_array(path, array)
    assert path.read_bytes() == by_columns
    assert read_array(path).tobytes() == array.tobytes()
    mapped = map_array(path)
    np.testing.assert_array_equal(mapped, array)
    assert mapped.shape == read_header(path).shape == array.shape
    if array.size:
        assert not mapped.flags.writeable


@given(floats, st.binary(min_size=1, max_size=64), st.integers(1, 200))
def test_any_other_length_is_refused(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, more: bytes, fewer: int
) -> None:
    """A file that is longer or shorter than its header says is no array."""
    path = tmp_path_factory.mktemp("array") / "a.npy"
    write_array(path, array)
    whole = path.read_bytes()
    for content in (whole + more, whole[:-fewer]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a.npy: (no array can be read|its header tells)"):
            read_array(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Bytes that are no array are told so, with the file's name where it is read whole."""
    path = tmp_path_factory.mktemp("array") / "a.npy"
    for head in (b"", b"\x93NUMPY\x01\x00\x76\x00"):
        path.write_bytes(head + content)
        with pytest.raises(ValueError, match=r"a.npy: .*no array can be read from it"):
            read_array(path)


def test_a_missing_file_is_told_as_one(tmp_path: Path) -> None:
    """A file that is not there is not taken for a damaged one."""
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "a.npy")
