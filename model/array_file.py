"""The array file: one array as ``.npy``, equal arrays as equal bytes, as long as its header says.

numpy reads a header and believes it. A file is measured here before anything is allocated for it,
so that one which claims more than it holds is refused, whatever it claims.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from model.whole_file import whole_file

HEAD_BYTES = 12_000
"""Within which a header ends: numpy refuses longer ones."""
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayHeader:
    """What stands before an array's elements."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    """Where the elements begin, in bytes."""


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
        return np.array(map_array(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def map_array(path: Path) -> NDArray[Any]:
    """Map an array, without reading it.

    Args:
        path: the file.

    Returns:
        The array, read-only, of whatever type and shape stands there.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when no array can be read from it, without the file's name.
    """
    with path.open("rb") as file:
        header = _header(file)
        if 0 in header.shape:
            return np.empty(header.shape, header.dtype)
        mapped = np.memmap(file, header.dtype, "r", header.offset, header.shape)
    # A plain view of the mapping: numpy's memmap class makes every look-up pay for itself.
    return np.asarray(mapped)


def read_header(path: Path) -> ArrayHeader:
    """Read an array's header, and compare it with the file's size.

    Args:
        path: the file.

    Returns:
        The header.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when no array can be read from it, without the file's name.
    """
    with path.open("rb") as file:
        return _header(file)


def parse_header(head: bytes, size: int) -> ArrayHeader:
    """Read an array's header from the beginning of its file.

    Args:
        head: the first ``HEAD_BYTES`` of the file, or all of it.
        size: bytes of the whole file.

    Returns:
        The header.

    Raises:
        ValueError: when it is no array's, or tells another size, without the file's name.
    """
    file = BytesIO(head)
    try:
        read = _HEADERS[npy.read_magic(file)]
        shape, by_columns, dtype = read(file)
    except (EOFError, ValueError, KeyError) as error:
        raise ValueError(f"no array can be read from it ({error})") from error
    if dtype.hasobject:
        raise ValueError("no array can be read from it (its elements are pickled objects)")
    if by_columns and len(shape) > 1:
        raise ValueError("it is stored column by column; export it again")
    if any(length < 0 for length in shape):
        raise ValueError(f"its header tells a negative size, {shape}")
    offset = file.tell()
    told = offset + math.prod(shape) * dtype.itemsize
    if size != told:
        raise ValueError(
            f"its header tells {dtype} {shape}, {told} bytes in all; the file has {size}"
        )
    return ArrayHeader(shape, dtype, offset)


def _header(file: IO[bytes]) -> ArrayHeader:
    return parse_header(file.read(HEAD_BYTES), file.seek(0, 2))
