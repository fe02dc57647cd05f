"""The row file: whole rows outlive a kill, and a file under its own name has them all."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.row_file import row_file

SHAPE = (7, 3)
ROWS = np.arange(21, dtype=np.int32).reshape(SHAPE)


def write(path: Path, rows: int, identity: str = "a") -> None:
    """Write some rows behind those that are there, or fail in the attempt."""
    with row_file(path, np.int32, SHAPE, identity) as file:
        file.append(ROWS[file.rows : file.rows + rows])


def test_it_is_a_plain_array_once_all_rows_are_there(tmp_path: Path) -> None:
    """Written in pieces or at once, the file is the one that numpy itself would save."""
    for name, pieces in (("one.npy", [7]), ("two.npy", [3, 0, 4])):
        with row_file(tmp_path / name, np.int32, SHAPE, "a") as file:
            for count in pieces:
                file.append(ROWS[file.rows : file.rows + count])
                np.testing.assert_array_equal(file.read(0, 99), ROWS[: file.rows])
        assert not list(tmp_path.glob("*.partial"))
    np.save(tmp_path / "numpy.npy", ROWS)
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1


def test_too_few_rows_are_an_error(tmp_path: Path) -> None:
    """A file that lacks rows never takes its place, and the next block goes on behind them."""
    path = tmp_path / "rows.npy"
    with pytest.raises(ValueError, match=r"rows\.npy has 4 rows, expected 7"):
        write(path, 4)
    assert not path.exists()
    write(path, 3)
    np.testing.assert_array_equal(np.load(path), ROWS)


@given(st.integers(0, 250))
def test_a_file_cut_anywhere_keeps_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    """Wherever a kill tore the file, its whole rows are taken up and the rest is written anew."""
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    with pytest.raises(ValueError, match="expected 7"):
        write(path, 6)
    (left,) = path.parent.iterdir()
    left.write_bytes(left.read_bytes()[:length])
    with row_file(path, np.int32, SHAPE, "a") as file:
        assert file.rows == max(0, min(length, 200) - 128) // 12
        np.testing.assert_array_equal(file.read(0, 7), ROWS[: file.rows])
        file.append(ROWS[file.rows :])
    np.testing.assert_array_equal(np.load(path), ROWS)


def test_rows_of_another_identity_are_removed(tmp_path: Path) -> None:
    """Rows that depend on something else are never gone on with."""
    path = tmp_path / "rows.npy"
    with pytest.raises(ValueError, match="expected 7"):
        write(path, 4, "a")
    with row_file(path, np.int32, SHAPE, "b") as file:
        assert file.rows == 0
        file.append(ROWS)
    assert list(tmp_path.iterdir()) == [path]


def test_rows_may_be_given_up(tmp_path: Path) -> None:
    """What is cut off is written again."""
    with row_file(tmp_path / "rows.npy", np.int32, SHAPE, "a") as file:
        file.append(ROWS[::-1])
        file.cut(0)
        file.append(ROWS)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), ROWS)
