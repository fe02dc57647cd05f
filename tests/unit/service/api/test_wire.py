"""From bytes to checked calls."""

import contextlib
import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.wire import Limits, parse_batch, parse_single
from service.errors import RequestError

LIMITS = Limits(max_candidates=50, max_batch_requests=3)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
ids = st.one_of(texts, st.integers(-(10**20), 10**20))


@given(ids, st.lists(ids, min_size=1, max_size=50))
def test_ids_arrive_as_strings_in_order(user_id: str | int, item_ids: list[str | int]) -> None:
    """Integers become their decimal spelling; nothing is reordered, merged or dropped."""
    body = json.dumps({"user_id": user_id, "item_ids": item_ids}).encode()
    (call,) = parse_single(body, LIMITS, "r")
    assert call.user_id == str(user_id)
    assert list(call.item_ids) == [str(item_id) for item_id in item_ids]


@given(st.integers(946_684_800, int(time.time())))
def test_moment_is_read_in_utc(time_s: int) -> None:
    """Hour and weekday follow from request_time, whatever the machine's time zone."""
    body = json.dumps({"user_id": "u", "item_ids": ["i"], "request_time": time_s}).encode()
    (call,) = parse_single(body, LIMITS, "r")
    moment = datetime.fromtimestamp(time_s, UTC)
    assert (call.moment.time_s, call.moment.hour) == (time_s, moment.hour)
    assert call.moment.weekday == moment.weekday()


def test_context_wins_over_the_clock() -> None:
    """A caller in another time zone says which hour it is there."""
    fields = {"request_time": 1_700_000_000, "context": {"hour": 4}}
    body = json.dumps({"user_id": "u", "item_ids": ["i"], **fields}).encode()
    (call,) = parse_single(body, LIMITS, "r")
    assert (call.moment.hour, call.moment.weekday) == (4, 1)


def test_now_is_the_default() -> None:
    """Without request_time the answer is for this moment."""
    (call,) = parse_single(b'{"user_id":"u","item_ids":["i"]}', LIMITS, "r")
    assert abs(call.moment.time_s - time.time()) < 60


@given(st.binary(max_size=60))
def test_any_bytes_give_a_call_or_a_request_error(body: bytes) -> None:
    """No body, however odd, is the service's mistake."""
    with contextlib.suppress(RequestError):
        parse_single(body, LIMITS, "r")


def test_error_in_a_batch_names_its_request() -> None:
    """The caller learns which of many requests is wrong."""
    good = {"user_id": "u", "item_ids": ["i"]}
    body = json.dumps({"requests": [good, {**good, "request_time": 5}]}).encode()
    with pytest.raises(RequestError, match=r"requests\[1\].request_time: 5.0"):
        parse_batch(body, LIMITS, "r")


@pytest.mark.parametrize("request_id", ["abc\n", "\n", "", "two words", "é", "x" * 129])
def test_request_id_that_no_header_can_carry_is_refused(request_id: str) -> None:
    """What is echoed in a header must be able to stand there, to its last character."""
    body = json.dumps({"user_id": "u", "item_ids": ["i"], "request_id": request_id}).encode()
    with pytest.raises(RequestError, match="request_id: "):
        parse_single(body, LIMITS, "r")
