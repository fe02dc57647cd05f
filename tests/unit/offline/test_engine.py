"""The table engine keeps order, bytes and its word when something fails."""

from hashlib import sha256
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline import engine as engine_module
from offline.engine import EngineError, byte_length, connect

SCHEMA = pa.table({"key": ["k"], "n": [1]}).schema


def _rows(count: int) -> pa.Table:
    scattered = [(n * 7919) % count for n in range(count)]
    return pa.table({"key": [f"k{n:07}" for n in scattered], "n": scattered})


def test_written_rows_are_sorted(tmp_path: Path) -> None:
    """A file's rows stand in the order that was asked for, whatever order they came in."""
    with connect() as engine:
        engine.write_parquet(ibis.memtable(_rows(1000)), tmp_path / "a.parquet", ["key"], SCHEMA)
    assert pq.read_table(tmp_path / "a.parquet")["n"].to_pylist() == list(range(1000))


def test_equal_rows_give_equal_bytes_whatever_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of threads and the order of the input leave no trace in a file."""
    monkeypatch.setattr(engine_module, "ROW_GROUP_ROWS", 1000)
    digests = set()
    for threads in (1, 2, 3):
        path = tmp_path / f"{threads}.parquet"
        rows = _rows(10_007).slice(threads * 100)
        rows = pa.concat_tables([rows, _rows(10_007).slice(0, threads * 100)])
        with connect(threads=threads) as engine:
            engine.write_parquet(ibis.memtable(rows), path, ["key"], SCHEMA)
        assert pq.ParquetFile(path).num_row_groups == 11
        digests.add(sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_table_without_rows_is_written_with_its_columns(tmp_path: Path) -> None:
    """A log without searches still has a searches file with the right columns."""
    with connect() as engine:
        empty = ibis.memtable(SCHEMA.empty_table())
        engine.write_parquet(empty, tmp_path / "a.parquet", ["key"], SCHEMA)
    assert pq.read_schema(tmp_path / "a.parquet").equals(SCHEMA)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """A file appears whole or not at all."""
    rows = ibis.memtable(pa.table({"key": ["1", "x"]}))
    broken = rows.select("key", n=rows["key"].cast("int64"))
    with connect() as engine, pytest.raises(EngineError, match=r"cannot write .*a\.parquet"):
        engine.write_parquet(broken, tmp_path / "a.parquet", ["key"], SCHEMA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reads"),
    [
        (b"not parquet", "read_parquet"),
        (b"a,b\n1\xff,2\n", "read_csv"),
        (b"a,b\n1\n", "read_csv"),
        (b"a,b\n" + b"1,2\n" * 100_000 + b"1,2,3\n", "read_csv"),
    ],
    ids=["not parquet", "not UTF-8", "short line", "long line far below"],
)
def test_unreadable_file_is_named(tmp_path: Path, content: bytes, reads: str) -> None:
    """A file that cannot be read is named in the error, with the engine's reason."""
    path = tmp_path / "log.bin"
    path.write_bytes(content)
    with connect() as engine, pytest.raises(EngineError, match=r"log\.bin"):
        engine.arrow(getattr(engine, reads)(path))


def test_csv_keeps_file_order_and_text(tmp_path: Path) -> None:
    """Rows of a CSV file come in file order, as text, and empty cells are missing."""
    lines = [f"{n:06},{'' if n % 3 else 'x'}" for n in range(60_000)]
    (tmp_path / "log.csv").write_text("id,mark\n" + "\n".join(lines) + "\n")
    with connect() as engine:
        rows = engine.read_csv(tmp_path / "log.csv")
        table = engine.arrow(rows.mutate(row=ibis.row_number() + 1))
    assert table["id"].to_pylist() == [f"{n:06}" for n in range(60_000)]
    assert table["row"].to_pylist() == list(range(1, 60_001))
    assert table["mark"].slice(0, 3).to_pylist() == ["x", None, None]


def test_byte_length_counts_bytes() -> None:
    """Limits on ids are in bytes of UTF-8, not in characters."""
    rows = ibis.memtable(pa.table({"key": ["a", "é", "日本", ""]}))
    with connect() as engine:
        lengths = engine.arrow(rows.select(n=byte_length(rows["key"])))
    assert lengths["n"].to_pylist() == [1, 2, 6, 0]


def test_materialised_rows_do_not_change(tmp_path: Path) -> None:
    """Rows that were kept stay as they were when their file is gone."""
    pq.write_table(_rows(10), tmp_path / "a.parquet")
    with connect() as engine:
        kept = engine.materialise(engine.read_parquet(tmp_path / "a.parquet"))
        (tmp_path / "a.parquet").unlink()
        assert len(engine.arrow(kept)) == 10
