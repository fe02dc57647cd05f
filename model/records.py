"""Feature records: what offline publishes and the service reads, and their wire form."""

import struct
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from choirrec.v1 import features_pb2 as pb
from model.spec import RECORD_SCHEMA_VERSION

# Made once: numpy takes as long to read a type's name as to make the array.
INT32, INT64 = np.dtype("<i4"), np.dtype("<i8")
UINT64, FLOAT32 = np.dtype("<u8"), np.dtype("<f4")

Codes = NDArray[np.int32]
Floats = NDArray[np.float32]
Keys = NDArray[np.uint64]
Times = NDArray[np.int64]


class CorruptRecord(ValueError):
    """Bytes that are no intact record: to be treated as missing, counted and reported."""


@dataclass(frozen=True, eq=False)
class UserRecord:
    """One user as of ``written_at_s``.

    Shapes: F_u attributes, F_n continuous fields, n purchases (oldest to newest), M levels.
    """

    user_id: str
    written_at_s: int
    attributes: Codes
    """int32 ``[F_u]``; 0 = missing."""
    continuous: Floats
    """float32 ``[F_n]`` in the field's own unit; NaN = missing."""
    purchase_items: Keys
    """uint64 ``[n]`` item keys."""
    purchase_times: Times
    """int64 ``[n]``, seconds since the epoch."""
    purchases: int
    """Purchases since the history's start, untruncated (|S_u^buy| of the qualification gate)."""
    window_purchases: int
    """Purchases inside the activity window before ``written_at_s``."""
    window_clicks: int
    """Clicks inside the activity window."""
    window_active_days: int
    """Distinct days with an event inside the activity window."""
    group_id: Codes
    """int32 ``[M]`` codes; code k at every level = no group."""
    prefix_depth: int
    """Levels of ``group_id`` that the user's prior uses; 0 = the global prior."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """The prefix group whose prior serves this user."""
        return tuple(self.group_id[: self.prefix_depth].tolist())


@dataclass(frozen=True, eq=False)
class GroupRecord:
    """The prior of one prefix group as of ``written_at_s``: its attributes and its sequence."""

    prefix: tuple[int, ...]
    written_at_s: int
    attributes: Codes
    """int32 ``[F_u]``: the members' mode; 0 = missing for all."""
    continuous: Floats
    """float32 ``[F_n]``: the members' mean; NaN = missing for all."""
    items: Keys
    """uint64 ``[n]`` item keys by ascending mean purchase time."""
    times: Times
    """int64 ``[n]`` mean purchase times, seconds since the epoch."""
    size: int
    """Members."""


@dataclass(frozen=True, eq=False)
class ItemRecord:
    """An item newer than the bundle's catalogue."""

    item_id: str
    written_at_s: int
    codes: Codes
    """int32 ``[fields]``: category levels, then side fields."""


AnyRecord = UserRecord | GroupRecord | ItemRecord


def prefix_name(prefix: tuple[int, ...]) -> str:
    """The spelling of a prefix in keys and answers: codes joined by dots, empty = global."""
    return ".".join(map(str, prefix))


def parse_prefix(name: str) -> tuple[int, ...]:
    """Read what ``prefix_name`` wrote."""
    return tuple(int(code) for code in name.split(".")) if name else ()


def schema_digest() -> str:
    """SHA-256 of the record schema: its version and the descriptor of every field."""
    digest = sha256(str(RECORD_SCHEMA_VERSION).encode())
    digest.update(pb.DESCRIPTOR.serialized_pb)
    return digest.hexdigest()


def encode_record(record: AnyRecord) -> bytes:
    """Serialise a record with its envelope and checksum."""
    match record:
        case UserRecord():
            return _seal(pb.KIND_USER, record.user_id, record.written_at_s, _pack_user(record))
        case GroupRecord():
            name = prefix_name(record.prefix)
            return _seal(pb.KIND_GROUP, name, record.written_at_s, _pack_group(record))
        case ItemRecord():
            item = pb.ItemFeatures(codes=_pack(record.codes, INT32)).SerializeToString()
            return _seal(pb.KIND_ITEM, record.item_id, record.written_at_s, item)


def decode_user(blob: bytes, user_id: str) -> UserRecord:
    """Decode a user's record.

    Args:
        blob: what ``encode_record`` wrote.
        user_id: the user asked for; a record of somebody else is corrupt.

    Raises:
        CorruptRecord: when the bytes are damaged, of another kind or of another user.
    """
    envelope = _open(blob, pb.KIND_USER, user_id)
    try:
        return _user(envelope, user_id)
    except (DecodeError, ValueError) as error:
        raise CorruptRecord(f"record of {user_id!r}: malformed columns ({error})") from error


def _user(envelope: pb.Record, user_id: str) -> UserRecord:
    user = pb.UserFeatures.FromString(envelope.features)
    total, purchases, clicks, days = _unpack(user.counts, INT64).tolist()
    items, times = _unpack(user.purchase_items, UINT64), _unpack(user.purchase_times, INT64)
    return UserRecord(
        user_id=user_id,
        written_at_s=envelope.written_at,
        attributes=_unpack(user.attributes, INT32),
        continuous=_unpack(user.continuous, FLOAT32),
        purchase_items=items,
        purchase_times=times,
        purchases=total,
        window_purchases=purchases,
        window_clicks=clicks,
        window_active_days=days,
        group_id=_unpack(user.group_id, INT32),
        prefix_depth=user.prefix_depth,
    )


def decode_group(blob: bytes, prefix: tuple[int, ...]) -> GroupRecord:
    """Decode the record of a prefix group; errors as ``decode_user``."""
    envelope = _open(blob, pb.KIND_GROUP, prefix_name(prefix))
    try:
        return _group(envelope, prefix)
    except (DecodeError, ValueError) as error:
        raise CorruptRecord(f"record of group {prefix}: malformed columns ({error})") from error


def _group(envelope: pb.Record, prefix: tuple[int, ...]) -> GroupRecord:
    group = pb.GroupFeatures.FromString(envelope.features)
    items, times = _unpack(group.items, UINT64), _unpack(group.times, INT64)
    return GroupRecord(
        prefix=prefix,
        written_at_s=envelope.written_at,
        attributes=_unpack(group.attributes, INT32),
        continuous=_unpack(group.continuous, FLOAT32),
        items=items,
        times=times,
        size=group.size,
    )


def decode_item(blob: bytes, item_id: str) -> ItemRecord:
    """Decode the record of a new item; errors as ``decode_user``."""
    envelope = _open(blob, pb.KIND_ITEM, item_id)
    try:
        codes = _unpack(pb.ItemFeatures.FromString(envelope.features).codes, INT32)
    except (DecodeError, ValueError) as error:
        raise CorruptRecord(f"record of {item_id!r}: malformed columns ({error})") from error
    return ItemRecord(item_id=item_id, written_at_s=envelope.written_at, codes=codes)


def _pack_user(record: UserRecord) -> bytes:
    counts = (
        record.purchases,
        record.window_purchases,
        record.window_clicks,
        record.window_active_days,
    )
    return pb.UserFeatures(
        attributes=_pack(record.attributes, INT32),
        continuous=_pack(record.continuous, FLOAT32),
        purchase_items=_pack(record.purchase_items, UINT64),
        purchase_times=_pack(record.purchase_times, INT64),
        counts=np.array(counts, dtype=INT64).tobytes(),
        group_id=_pack(record.group_id, INT32),
        prefix_depth=record.prefix_depth,
    ).SerializeToString()


def _pack_group(record: GroupRecord) -> bytes:
    return pb.GroupFeatures(
        attributes=_pack(record.attributes, INT32),
        continuous=_pack(record.continuous, FLOAT32),
        items=_pack(record.items, UINT64),
        times=_pack(record.times, INT64),
        size=record.size,
    ).SerializeToString()


def _seal(kind: "pb.Kind.ValueType", identity: str, written_at_s: int, features: bytes) -> bytes:
    return pb.Record(
        schema_version=RECORD_SCHEMA_VERSION,
        written_at=written_at_s,
        checksum=_checksum(kind, identity, written_at_s, features),
        kind=kind,
        identity=identity,
        features=features,
    ).SerializeToString()


def _open(blob: bytes, kind: "pb.Kind.ValueType", identity: str) -> pb.Record:
    try:
        record = pb.Record.FromString(blob)
    except DecodeError as error:
        raise CorruptRecord(f"record of {identity!r}: not a protobuf Record") from error
    if record.schema_version != RECORD_SCHEMA_VERSION:
        raise CorruptRecord(
            f"record of {identity!r}: schema version {record.schema_version}, "
            f"expected {RECORD_SCHEMA_VERSION}"
        )
    intact = record.checksum == _checksum(kind, identity, record.written_at, record.features)
    if not intact or record.kind != kind or record.identity != identity:
        raise CorruptRecord(
            f"record of {identity!r}: the checksum does not match; damaged, or the record of "
            f"another kind or key (it names kind {record.kind}, {record.identity!r})"
        )
    return record


def _checksum(kind: int, identity: str, written_at_s: int, features: bytes) -> int:
    head = struct.pack("<qi", written_at_s, kind) + identity.encode()
    return zlib.crc32(features, zlib.crc32(head))


def _pack(column: NDArray[np.generic], dtype: np.dtype[Any]) -> bytes:
    return column.astype(dtype, copy=False).tobytes()


def _unpack(column: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(column, dtype)
