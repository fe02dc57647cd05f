"""The codec: microseconds to encode and decode a record, beside other wire forms."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from model.records import UserRecord, decode_user, encode_record

PURCHASES = 50
ROUNDS = 41
CALLS_PER_ROUND = 200
COLUMNS = {
    "attributes": "<i4",
    "continuous": "<f4",
    "purchase_items": "<u8",
    "purchase_times": "<i8",
    "group_id": "<i4",
}
SCALARS = (
    "written_at_s",
    "purchases",
    "window_purchases",
    "window_clicks",
    "window_active_days",
    "prefix_depth",
)
Columns = dict[str, Any]


@dataclass(frozen=True)
class Codec:
    """A way to write a record's columns and to read them back as numpy arrays."""

    encode: Callable[[], bytes]
    decode: Callable[[bytes], Any]


def sample_record() -> UserRecord:
    """A user with a full history, the record most requests read."""
    rng = np.random.default_rng(0)
    return UserRecord(
        user_id="user-123456",
        written_at_s=1_700_000_000,
        attributes=rng.integers(0, 9, 5).astype(np.int32),
        continuous=rng.normal(size=2).astype(np.float32),
        purchase_items=rng.integers(0, 2**64 - 1, PURCHASES, dtype=np.uint64),
        purchase_times=np.sort(rng.integers(1_600_000_000, 1_700_000_000, PURCHASES)),
        purchases=80,
        window_purchases=12,
        window_clicks=140,
        window_active_days=20,
        group_id=np.array([12, 7, 3], np.int32),
        prefix_depth=2,
    )


def codecs(record: UserRecord) -> dict[str, Codec]:
    """Ours and the others; all but ours and ``raw_columns`` write numbers one by one.

    ``raw_columns`` is the floor: columns behind one another in a fixed order, no envelope, no
    field may ever be added.
    """
    scalars = {name: getattr(record, name) for name in SCALARS}
    arrays = {name: getattr(record, name) for name in COLUMNS}
    return {
        "ours": Codec(
            lambda: encode_record(record), lambda blob: decode_user(blob, record.user_id)
        ),
        "json": Codec(
            lambda: json.dumps(_lists(arrays) | scalars).encode(),
            lambda blob: _arrays(json.loads(blob)),
        ),
        "msgspec_msgpack": Codec(
            lambda: msgspec.msgpack.encode(_lists(arrays) | scalars),
            lambda blob: _arrays(msgspec.msgpack.decode(blob)),
        ),
        "protobuf_repeated": _protobuf(scalars, arrays),
        "raw_columns": Codec(lambda: _write_raw(scalars, arrays), _read_raw),
    }


def measure(ways: dict[str, Codec]) -> dict[str, dict[str, float]]:
    """Median microseconds per call, all ways in turn within each round.

    Args:
        ways: codecs by name, ``ours`` among them.

    Returns:
        Per codec: bytes, microseconds of encoding and decoding, and both as ratios to ours.
    """
    blobs = {name: codec.encode() for name, codec in ways.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for name, codec in ways.items():
            decode = partial(codec.decode, blobs[name])
            times.setdefault((name, "encode"), []).append(_microseconds(codec.encode))
            times.setdefault((name, "decode"), []).append(_microseconds(decode))
    medians = {key: statistics.median(values) for key, values in times.items()}
    return {
        name: {
            "bytes": len(blobs[name]),
            **{f"{step}_us": round(medians[name, step], 2) for step in ("encode", "decode")},
            **{
                f"{step}_ratio": round(medians[name, step] / medians["ours", step], 2)
                for step in ("encode", "decode")
            },
        }
        for name in ways
    }


def main() -> None:
    """Measure, write the figures and print them as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/codec.json"))
    out: Path = parser.parse_args().out
    figures = {"purchases": PURCHASES, "codecs": measure(codecs(sample_record()))}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


def _microseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS_PER_ROUND):
        call()
    return (time.perf_counter() - began) / CALLS_PER_ROUND * 1e6


def _lists(arrays: Columns) -> Columns:
    return {name: array.tolist() for name, array in arrays.items()}


def _arrays(fields: Columns) -> Columns:
    return {name: np.array(fields[name], dtype) for name, dtype in COLUMNS.items()}


def _protobuf(scalars: Columns, arrays: Columns) -> Codec:
    """Plain protobuf: one repeated field per column, one field per count."""
    kinds = {"<i4": "TYPE_INT32", "<f4": "TYPE_FLOAT", "<u8": "TYPE_FIXED64", "<i8": "TYPE_INT64"}
    field = descriptor_pb2.FieldDescriptorProto
    message = descriptor_pb2.DescriptorProto(name="Repeated")
    for name in (*COLUMNS, *SCALARS):
        repeated = name in COLUMNS
        message.field.add(
            name=name,
            number=len(message.field) + 1,
            type=getattr(field, kinds[COLUMNS[name]] if repeated else "TYPE_INT64"),
            label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
        )
    file = descriptor_pb2.FileDescriptorProto(name="bench_codec.proto", syntax="proto3")
    file.message_type.append(message)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = message_factory.GetMessageClass(pool.FindMessageTypeByName("Repeated"))
    return Codec(
        lambda: make(**_lists(arrays), **scalars).SerializeToString(),
        lambda blob: _from_message(make.FromString(blob)),
    )


def _from_message(message: Any) -> Columns:
    return {name: np.array(getattr(message, name), dtype) for name, dtype in COLUMNS.items()}


def _write_raw(scalars: Columns, arrays: Columns) -> bytes:
    sizes = [len(array) for array in arrays.values()]
    head = np.array([*sizes, *scalars.values()], "<i8").tobytes()
    return head + b"".join(array.tobytes() for array in arrays.values())


def _read_raw(blob: bytes) -> Columns:
    head = np.frombuffer(blob, "<i8", len(COLUMNS) + len(SCALARS))
    start, columns = head.nbytes, {}
    for size, (name, dtype) in zip(head.tolist(), COLUMNS.items(), strict=False):
        columns[name] = np.frombuffer(blob, dtype, size, start)
        start += columns[name].nbytes
    return columns


if __name__ == "__main__":
    main()
