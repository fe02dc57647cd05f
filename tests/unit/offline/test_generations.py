"""Generations: a cut's codes and priors as the records that training and serving read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.records import decode_group, encode_record
from model.spec import item_key
from offline.generations import GenerationFiles, GroupSide
from tests.synthetic import feature_spec

SPEC = feature_spec()
AS_OF_S = 1_700_000_000


def prior(prefix: str, size: int, **changes: Any) -> dict[str, Any]:
    """A row as the priors' stage writes it."""
    row = {
        "depth": len(prefix.split(".")) if prefix else 0,
        "prefix": prefix,
        "size": size,
        "age": "age2",
        "city": None,
        "income": 4.5,
        "items": ["i1", "i2"],
        "times": [AS_OF_S - 20, AS_OF_S - 10],
    }
    return row | changes


def load(folder: Path, rows: Sequence[dict[str, Any]]) -> GroupSide:
    """The group side of a cut with these priors."""
    types: list[tuple[str, pa.DataType]] = [
        ("depth", pa.int64()),
        ("prefix", pa.string()),
        ("size", pa.int64()),
        ("age", pa.string()),
        ("city", pa.string()),
        ("income", pa.float64()),
        ("items", pa.list_(pa.string())),
        ("times", pa.list_(pa.int64())),
    ]
    pq.write_table(pa.Table.from_pylist(list(rows), pa.schema(types)), folder / "priors.parquet")
    np.save(folder / "codes.npy", np.array([[0, 1, 2], [4, 4, 4]], np.int32))
    np.save(folder / "depths.npy", np.array([3, 0]))
    files = GenerationFiles(
        as_of_s=AS_OF_S,
        codes=folder / "codes.npy",
        priors=folder / "priors.parquet",
        depths=folder / "depths.npy",
    )
    return GroupSide.load(files, SPEC)


def test_a_prior_becomes_the_record_that_is_published(tmp_path: Path) -> None:
    """Codes, keys, times and size are the row's; the record survives its wire form."""
    side = load(tmp_path, [prior("", 9), prior("3.1", 5)])
    record = side.groups[3, 1]
    assert record.attributes.tolist() == [4, 0]
    assert record.continuous.tolist() == [4.5]
    assert record.items.tolist() == [item_key("i1"), item_key("i2")]
    assert record.times.tolist() == [AS_OF_S - 20, AS_OF_S - 10]
    assert (record.size, record.written_at_s, record.prefix) == (5, AS_OF_S, (3, 1))
    again = decode_group(encode_record(record), (3, 1))
    assert again.items.tolist() == record.items.tolist()


@pytest.mark.parametrize(
    ("prefix", "size", "served"),
    [("", 1, True), ("2", 1, True), ("2.0", 1, False), ("2.0", 2, True), ("2.0.1", 1, False)],
)
def test_small_deep_groups_have_no_record(
    prefix: str, size: int, served: bool, tmp_path: Path
) -> None:
    """Priors deeper than level 1 need n_min members; the last steps of the ladder always stand."""
    assert SPEC.n_min == 2
    codes = tuple(int(code) for code in prefix.split(".") if code)
    assert (codes in load(tmp_path, [prior(prefix, size)]).groups) is served


def test_what_a_group_lacks_is_missing(tmp_path: Path) -> None:
    """Attributes nobody has are 0 and NaN, an unseen value is 1, none bought is no sequence."""
    row = prior("", 3, age="age99", income=None, items=[], times=[])
    record = load(tmp_path, [row]).groups[()]
    assert record.attributes.tolist() == [1, 0]
    assert np.isnan(record.continuous).all()
    assert len(record.items) == len(record.times) == 0


def test_users_stand_in_the_order_of_their_table(tmp_path: Path) -> None:
    """Codes and depths are read as they were written."""
    side = load(tmp_path, [prior("", 3)])
    assert side.codes.tolist() == [[0, 1, 2], [4, 4, 4]]
    assert side.depths.tolist() == [3, 0]
    assert side.as_of_s == AS_OF_S
