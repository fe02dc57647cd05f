"""The table engine: Ibis expressions, run by DuckDB within a memory limit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import Error as DuckDBError
from ibis.backends.duckdb import Backend

from model.whole_file import whole_file
from offline.scratch import scratch_folder

ROW_GROUP_ROWS = 131_072
CSV_DIALECT: Final = {
    "header": True,
    "delim": ",",
    "quote": '"',
    "escape": '"',
    "skip": 0,
    "strict_mode": True,
}


class EngineError(Exception):
    """The engine could not read a file or run an expression."""


def _strlen(text: str) -> int:
    raise TypeError(f"runs inside the engine alone, not on {text!r}")


_engine_strlen = ibis.udf.scalar.builtin(_strlen, name="strlen")


def byte_length(text: ibis.Value) -> ibis.Value:
    """Bytes of a text column in UTF-8 (this backend's name for SQL's octet_length)."""
    return _engine_strlen(text)


class Engine:
    """A small surface over Ibis: read files, run expressions, write Parquet.

    Expressions stay portable; only this file knows which backend runs them.
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap a connected backend; use ``connect`` instead."""
        self._backend = backend
        self._names = count()

    def read_parquet(self, path: Path) -> ibis.Table:
        """A Parquet file as a table, read when it is used.

        Raises:
            EngineError: when the file is absent or is no Parquet file.
        """
        with _explained(f"cannot read {path} as Parquet"):
            return self._backend.read_parquet(str(path))

    def read_csv(self, path: Path) -> ibis.Table:
        """A CSV file as a table of text columns; empty cells are null.

        The dialect is not guessed: UTF-8, commas, a header line, double quotes doubled within.

        Raises:
            EngineError: when the file is absent, not UTF-8, or has ragged lines.
        """
        with _explained(f"cannot read {path} as CSV (UTF-8, commas, a header line)"):
            return self._backend.read_csv(str(path), all_varchar=True, **CSV_DIALECT)

    def arrow(self, expression: ibis.Table) -> pa.Table:
        """Run an expression and return its rows.

        Raises:
            EngineError: when the expression fails on the rows it meets.
        """
        with _explained("cannot run an expression"):
            rows: pa.Table = self._backend.to_pyarrow(expression)
            return rows

    def materialise(self, expression: ibis.Table) -> ibis.Table:
        """Run an expression once and keep its rows for further expressions.

        Raises:
            EngineError: when the expression fails on the rows it meets.
        """
        with _explained("cannot run an expression"):
            return self._backend.table(self._keep(expression))

    def _keep(self, expression: ibis.Table) -> str:
        name = f"kept_{next(self._names)}"
        self._backend.create_table(name, expression)
        return name

    def write_parquet(
        self, expression: ibis.Table, path: Path, order_by: Sequence[str], schema: pa.Schema
    ) -> None:
        """Write an expression's rows in order; equal rows give equal bytes.

        Args:
            expression: a table that has at least the columns of ``schema``.
            path: the file; it appears whole or not at all.
            order_by: columns that order the rows, most significant first. Rows that tie on
                all of them must be equal, or the order is not defined.
            schema: columns and types to write, in order.

        Raises:
            EngineError: when the expression fails on the rows it meets.
        """
        ordered = expression.select(*schema.names).order_by(list(order_by))
        with (
            whole_file(path) as partial,
            _explained(f"cannot write {path}"),
            self._streamed(ordered) as batches,
        ):
            _write_row_groups(batches, partial, schema)

    @contextmanager
    def _streamed(self, expression: ibis.Table) -> Iterator[pa.RecordBatchReader]:
        # Through a table of the backend, which may spill: Ibis's own stream of batches calls a
        # method that DuckDB 2 no longer has.
        kept = self._keep(expression)
        try:
            rows = self._backend.con.sql(f'SELECT * FROM "{kept}"')  # noqa: S608
            yield rows.to_arrow_reader(ROW_GROUP_ROWS)
        finally:
            self._backend.con.execute(f'DROP TABLE "{kept}"')


@contextmanager
def connect(memory_limit: str = "2GB", threads: int = 2) -> Iterator[Engine]:
    """An engine with its own scratch folder; both end with the block.

    Args:
        memory_limit: most memory that tables may take before they spill, such as "2GB".
        threads: worker threads.

    Yields:
        The engine.
    """
    with scratch_folder("engine") as scratch:
        backend = ibis.duckdb.connect(
            threads=threads, memory_limit=memory_limit, temp_directory=str(scratch)
        )
        try:
            yield Engine(backend)
        finally:
            backend.disconnect()


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (DuckDBError, OSError, pa.ArrowInvalid) as error:
        raise EngineError(f"{what}: {error}") from error


def _write_row_groups(batches: pa.RecordBatchReader, path: Path, schema: pa.Schema) -> None:
    # Whatever sizes the engine hands over, row groups are cut at fixed rows: equal bytes.
    waiting = schema.empty_table()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            arrived = pa.Table.from_batches([batch]).cast(schema)
            waiting = pa.concat_tables([waiting, arrived])
            while len(waiting) >= ROW_GROUP_ROWS:
                writer.write_table(waiting.slice(0, ROW_GROUP_ROWS).combine_chunks())
                waiting = waiting.slice(ROW_GROUP_ROWS)
        if len(waiting):
            writer.write_table(waiting.combine_chunks())
