"""Parquet files of the log; the one file of the service that imports pyarrow.

It is imported by name alone (``service.feedback.opening``): a service that keeps no log needs no
pyarrow and is 150 MB smaller.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.served_log import COLUMNS, SUFFIX, ColumnType
from service.feedback.part import Row, UnwritablePart

ROWS_CONVERTED = 8
"""Rows converted at one go: with 500 candidates each about a millisecond."""
PAUSE_S = 0.0005
_TYPES: Mapping[ColumnType, "pa.DataType"] = {
    "text": pa.string(),
    "texts": pa.list_(pa.string()),
    "bytes": pa.binary(),
    "list of bytes": pa.list_(pa.binary()),
    "whole": pa.int64(),
    "number": pa.float64(),
    "floats": pa.list_(pa.float32()),
    "flag": pa.bool_(),
}
SCHEMAS: Mapping[str, "pa.Schema"] = {
    kind: pa.schema([(name, _TYPES[column]) for name, column in columns.items()])
    for kind, columns in COLUMNS.items()
}
"""By folder: served, outcomes."""


_log = logging.getLogger("choirrec")


class ParquetPart:
    """A Parquet file under a temporary name until it is whole; see ``service.feedback.part``."""

    def __init__(self, kind: str, path: Path) -> None:
        """Begin a file.

        Args:
            kind: served or outcomes.
            path: where it shall stand; nothing stands there yet.

        Raises:
            UnwritablePart: when it cannot be made.
        """
        self._schema = SCHEMAS[kind]
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._writer = _explained(
            path, lambda: pq.ParquetWriter(self._partial, self._schema, compression="zstd")
        )

    @property
    def size_bytes(self) -> int:
        """As ``Part.size_bytes``."""
        path = self._path if self._path.exists() else self._partial
        return path.stat().st_size

    def add(self, rows: Sequence[Row]) -> None:
        """As ``Part.add``."""
        _explained(self._path, lambda: self._writer.write_table(_table(rows, self._schema)))

    def finish(self) -> None:
        """As ``Part.finish``."""
        _explained(self._path, self._writer.close)
        _explained(self._path, lambda: self._partial.replace(self._path))

    def abandon(self) -> None:
        """As ``Part.abandon``."""
        try:
            self._writer.close()
        except (OSError, pa.ArrowException):
            pass
        finally:
            self._partial.unlink(missing_ok=True)


def find_rows(
    folder: Path, kind: str, request_id: str, tell: Callable[[str], None] = _log.warning
) -> Iterator[dict[str, Any]]:
    """Look a request up, in the newest files first.

    Args:
        folder: of the log.
        kind: served or outcomes.
        request_id: whose rows.
        tell: hears of every file that cannot be read; it is passed over, and so, in silence, is one
            that was just removed.

    Yields:
        Rows as dictionaries; several where a caller used one id several times.
    """
    for path in sorted((folder / kind).glob(f"*{SUFFIX}"), reverse=True):
        try:
            yield from _rows_of(path, kind, request_id)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, pa.ArrowException) as error:
            tell(f"{path} cannot be read, and was passed over: {error}")


def _rows_of(path: Path, kind: str, request_id: str) -> Iterator[dict[str, Any]]:
    # Arrow's own file: its threads must not wait for the interpreter's lock of a process that ends.
    with pa.OSFile(str(path), "rb") as source, pq.ParquetFile(source) as file:
        if missing := set(COLUMNS[kind]) - set(file.schema_arrow.names):
            raise OSError(f"it has no column {min(missing)}")
        for group in reversed(range(file.num_row_groups)):
            ids = file.read_row_group(group, ["request_id"], use_threads=False)["request_id"]
            places = [n for n, one in enumerate(ids.to_pylist()) if one == request_id]
            if places:
                table = file.read_row_group(group, use_threads=False)
                yield from reversed(table.take(places).to_pylist())


def _table(rows: Sequence[Row], schema: "pa.Schema") -> "pa.Table":
    batches = []
    for start in range(0, len(rows), ROWS_CONVERTED):
        batches.append(_batch(rows[start : start + ROWS_CONVERTED], schema))
        # No other thread runs Python meanwhile, so answers wait; let them go first.
        time.sleep(PAUSE_S)
    return pa.Table.from_batches(batches, schema)


def _batch(rows: Sequence[Row], schema: "pa.Schema") -> "pa.RecordBatch":
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _explained(path: Path, write: Any) -> Any:
    try:
        return write()
    except (OSError, pa.ArrowException) as error:
        raise UnwritablePart(f"{path}: {error}") from error
