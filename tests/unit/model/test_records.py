"""Records: what is read is what was written, or it is found out."""

import struct
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from choirrec.v1 import features_pb2 as pb
from model import records
from model.records import (
    AnyRecord,
    CorruptRecord,
    GroupRecord,
    ItemRecord,
    UserRecord,
    decode_group,
    decode_item,
    decode_user,
    encode_record,
    parse_prefix,
    prefix_name,
    schema_digest,
)
from model.spec import RECORD_SCHEMA_VERSION
from tests.records import (
    group_record,
    group_records,
    item_record,
    item_records,
    prefixes,
    user_record,
    user_records,
)

ONE_OF_EACH: list[AnyRecord] = [user_record(7), group_record((3, 1)), item_record("new")]


def decode(blob: bytes, like: AnyRecord) -> AnyRecord:
    """Decode as a record of that kind and key."""
    match like:
        case UserRecord():
            return decode_user(blob, like.user_id)
        case GroupRecord():
            return decode_group(blob, like.prefix)
        case ItemRecord():
            return decode_item(blob, like.item_id)


def same(one: AnyRecord, other: AnyRecord) -> bool:
    """Whether all fields are equal, arrays by dtype and bytes (so NaN equals itself)."""
    if type(one) is not type(other):
        return False
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    return all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() if isinstance(a, np.ndarray) else a == b
        for a, b in pairs
    )


@given(st.one_of(user_records(), group_records(), item_records()))
def test_every_record_survives_the_wire(record: AnyRecord) -> None:
    """Whatever a record holds, decoding gives back the same values and types."""
    assert same(decode(encode_record(record), record), record)


@given(st.one_of(user_records(), group_records(), item_records()))
def test_equal_records_have_equal_bytes(record: AnyRecord) -> None:
    """Encoding is deterministic and survives a round trip, so publishes can compare bytes."""
    blob = encode_record(record)
    assert encode_record(decode(blob, record)) == blob


@pytest.mark.parametrize("record", ONE_OF_EACH)
def test_every_flipped_bit_is_found_or_harmless(record: AnyRecord) -> None:
    """No single flipped bit ever gives a record that differs from the written one."""
    blob = encode_record(record)
    for position in range(8 * len(blob)):
        flipped = bytearray(blob)
        flipped[position // 8] ^= 1 << position % 8
        try:
            found = decode(bytes(flipped), record)
        except CorruptRecord:
            continue
        assert same(found, record)


@pytest.mark.parametrize("record", ONE_OF_EACH)
def test_every_truncation_is_found(record: AnyRecord) -> None:
    """A record cut short anywhere is corrupt."""
    blob = encode_record(record)
    for length in range(len(blob)):
        with pytest.raises(CorruptRecord):
            decode(blob[:length], record)


@example(junk=b"")
@given(junk=st.binary(max_size=64))
def test_arbitrary_bytes_are_corrupt(junk: bytes) -> None:
    """Bytes that nobody encoded raise nothing but CorruptRecord."""
    for record in ONE_OF_EACH:
        with pytest.raises(CorruptRecord):
            decode(junk, record)


def test_a_record_under_anothers_key_is_corrupt() -> None:
    """Somebody else's record is never taken for the one asked for, and both are named."""
    with pytest.raises(CorruptRecord, match=r"'u8'.*'u7'"):
        decode_user(encode_record(user_record(7)), "u8")
    with pytest.raises(CorruptRecord, match=r"'3.1.0'.*'3.1'"):
        decode_group(encode_record(group_record((3, 1))), (3, 1, 0))


def test_a_record_of_another_kind_is_corrupt() -> None:
    """An item's record under a user's key is found out although the names are equal."""
    with pytest.raises(CorruptRecord, match="another kind"):
        decode_user(encode_record(item_record("x")), "x")


def test_another_schema_version_is_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of a future schema is refused with both versions, not half-read."""
    monkeypatch.setattr(records, "RECORD_SCHEMA_VERSION", 2)
    blob = encode_record(user_record(7))
    monkeypatch.undo()
    with pytest.raises(CorruptRecord, match="schema version 2, expected 1"):
        decode_user(blob, "u7")


def sealed(features: bytes) -> bytes:
    """An envelope of user "u" whose checksum is right, whatever is inside."""
    head = struct.pack("<qi", 5, pb.KIND_USER) + b"u"
    return pb.Record(
        schema_version=RECORD_SCHEMA_VERSION,
        written_at=5,
        checksum=zlib.crc32(features, zlib.crc32(head)),
        kind=pb.KIND_USER,
        identity="u",
        features=features,
    ).SerializeToString()


@pytest.mark.parametrize(
    "features",
    [
        b"\xff\xff",
        pb.UserFeatures(counts=b"\x00" * 24).SerializeToString(),
        pb.UserFeatures(counts=b"\x00" * 32, attributes=b"123").SerializeToString(),
    ],
    ids=["no message", "three counts", "ragged column"],
)
def test_a_well_sealed_misfit_is_corrupt(features: bytes) -> None:
    """What another program sealed by our rules, but filled wrongly, is corrupt and no crash."""
    with pytest.raises(CorruptRecord, match="'u'"):
        decode_user(sealed(features), "u")


def test_decoded_columns_are_read_only() -> None:
    """Decoded columns are views of the bytes: nobody can change a cached record by accident."""
    decoded = decode_user(encode_record(user_record(7)), "u7")
    with pytest.raises(ValueError, match="read-only"):
        decoded.attributes[0] = 1


@given(prefixes)
def test_prefix_names_are_read_back(prefix: tuple[int, ...]) -> None:
    """The spelling of a prefix in keys and answers leads back to its codes."""
    assert parse_prefix(prefix_name(prefix)) == prefix


def test_the_users_prefix_is_the_part_in_use() -> None:
    """A user's prefix holds as many codes as its depth says."""
    record = replace(user_record(7), prefix_depth=2)
    assert record.prefix == (3, 1)


def test_the_schema_digest_follows_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another schema version is another schema for the feature contract."""
    before = schema_digest()
    monkeypatch.setattr(records, "RECORD_SCHEMA_VERSION", 2)
    assert schema_digest() != before
