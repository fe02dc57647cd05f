"""The array file: one float32 array as ``.npy``, equal arrays as equal bytes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.whole_file import whole_file


def write_array(path: Path, array: NDArray[np.float32]) -> None:
    """Write an array; the file appears whole or not at all.

    Args:
        path: the file, in an existing folder.
        array: float32, of any shape.
    """
    with whole_file(path) as partial, partial.open("wb") as file:
        np.save(file, np.ascontiguousarray(array, dtype="<f4"), allow_pickle=False)


def read_array(path: Path) -> NDArray[np.float32]:
    """Read what ``write_array`` wrote.

    Args:
        path: the file.

    Returns:
        The array, as it was written: whoever knows what it means checks type, shape and values.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when no array can be read from it.
    """
    try:
        array: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path}: no array can be read from it ({error})") from error
    return array
