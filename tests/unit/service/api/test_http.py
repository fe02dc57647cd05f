"""Bodies within limits, and keys."""

import asyncio
from collections.abc import Iterable

import pytest

from service.api.http import Message, check_key, read_body, request_id_of
from service.errors import BodyTooLarge, Unauthorised, UnsupportedEncoding


def _read(parts: Iterable[Message], headers: dict[bytes, bytes], limit: int) -> bytes | None:
    messages = iter(parts)

    async def receive() -> Message:
        return next(messages)

    return asyncio.run(read_body(headers, receive, limit))


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_body_is_joined() -> None:
    """Parts arrive as one."""
    assert _read([_part(b"a", more=True), _part(b"b", more=False)], {}, 2) == b"ab"


def test_reading_stops_at_the_limit() -> None:
    """Nothing beyond the limit is read, let alone kept."""
    endless = (_part(b"x" * 10, more=True) for _ in iter(int, 1))
    with pytest.raises(BodyTooLarge, match="more than 25 bytes"):
        _read(endless, {}, 25)


def test_announced_size_is_enough_to_refuse() -> None:
    """A large upload is refused before its first byte."""
    with pytest.raises(BodyTooLarge, match="26 bytes announced"):
        _read([], {b"content-length": b"26"}, 25)


def test_compressed_body_is_refused() -> None:
    """No decompression bomb can be sent."""
    with pytest.raises(UnsupportedEncoding, match="gzip"):
        _read([], {b"content-encoding": b"gzip"}, 25)


def test_caller_who_left_gets_nothing() -> None:
    """Half a body is not answered."""
    assert _read([_part(b"a", more=True), {"type": "http.disconnect"}], {}, 25) is None


@pytest.mark.parametrize(
    "headers",
    [
        {b"x-api-key": b"secret"},
        {b"authorization": b"Bearer secret"},
        {b"authorization": b"bearer  secret "},
    ],
)
def test_right_key_passes(headers: dict[bytes, bytes]) -> None:
    """Both usual headers carry it."""
    check_key(headers, b"secret")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"x-api-key": b"Secret"},
        {b"authorization": b"Basic secret"},
        {b"authorization": b"Bearer"},
        {b"x-api-key": b"\xff\xfe"},
    ],
)
def test_other_keys_do_not_pass(headers: dict[bytes, bytes]) -> None:
    """Nothing but the key opens."""
    with pytest.raises(Unauthorised):
        check_key(headers, b"secret")


@pytest.mark.parametrize("header", [b"a b", b"", b"x" * 129, b"caf\xe9", b"a\tb", b"abc\n"])
def test_odd_request_ids_are_replaced(header: bytes) -> None:
    """What is echoed into headers and logs is short and printable."""
    assert request_id_of({b"x-request-id": header}).encode() != header


def test_request_id_is_echoed() -> None:
    """A caller finds its own id again."""
    assert request_id_of({b"x-request-id": b"abc-1"}) == "abc-1"
