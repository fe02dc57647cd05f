"""Parquet files in row groups of fixed size, from parts of any size."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from offline.engine import ROW_GROUP_ROWS


class RowGroups:
    """A Parquet file that is written part by part; equal rows give equal bytes."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting = schema.empty_table()
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def __enter__(self) -> "RowGroups":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and len(self._waiting):
            self._writer.write_table(self._waiting.combine_chunks())
        self._writer.close()

    def add(self, columns: Mapping[str, Any]) -> None:
        """Append rows, a column of equal length for each field of the schema."""
        table = pa.table({name: columns[name] for name in self._schema.names}, self._schema)
        self._waiting = pa.concat_tables([self._waiting, table])
        done = len(self._waiting) // ROW_GROUP_ROWS * ROW_GROUP_ROWS
        for start in range(0, done, ROW_GROUP_ROWS):
            self._writer.write_table(self._waiting.slice(start, ROW_GROUP_ROWS).combine_chunks())
        if done:
            self._waiting = self._waiting.slice(done).combine_chunks()


def numbered_ids(prefix: str, digits: int, numbers: NDArray[np.integer[Any]]) -> "pa.Array[Any]":
    """Ids such as "u00000042": of one width, so that they sort as their numbers do."""
    width = len(prefix) + digits
    text = np.empty((len(numbers), width), np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    rest = np.asarray(numbers, np.int64)
    for place in range(width - 1, len(prefix) - 1, -1):
        rest, digit = np.divmod(rest, 10)
        text[:, place] = digit + ord("0")
    return fixed_width(text)


def hexadecimal(numbers: NDArray[np.int64]) -> "pa.Array[Any]":
    """Numbers below 2**48 as 12 hexadecimal digits."""
    quads = np.stack([numbers >> 32 & 0xFFFF, numbers >> 16 & 0xFFFF, numbers & 0xFFFF], axis=1)
    return fixed_width(_QUADS[quads].view(np.uint8).reshape(len(numbers), 12))


def fixed_width(text: NDArray[np.uint8]) -> "pa.Array[Any]":
    """Strings of one length from their bytes ``[N, width]``."""
    offsets = np.arange(len(text) + 1, dtype=np.int32) * np.int32(text.shape[1])
    starts, characters = (pa.py_buffer(np.ascontiguousarray(a).data) for a in (offsets, text))
    return pa.StringArray.from_buffers(len(text), starts, characters)


_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_QUADS = _DIGITS[np.stack([np.arange(2**16) >> shift & 15 for shift in (12, 8, 4, 0)], 1)].view(
    np.uint32
)[:, 0]
"""uint32 ``[65536]``: the four hexadecimal digits of every 16-bit number."""
