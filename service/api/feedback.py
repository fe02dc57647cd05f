"""The feedback route: POST /feedback takes what became of answered requests."""

import logging
import re
import time
from collections.abc import Sequence
from typing import Annotated

import msgspec
import orjson

from model.served_log import Outcome
from service.api.http import (
    JSON_TYPE,
    REQUEST_ID,
    Headers,
    Receive,
    Reply,
    Scope,
    Send,
    check_key,
    closing,
    headers_of,
    problem_reply,
    read_body,
    request_id_of,
    respond,
)
from service.api.wire import EARLIEST_S, LATEST_AHEAD_S, Id, checked_id, decoded
from service.errors import InvalidRequest, LogFull, MethodNotAllowed, NoLog, ServiceError
from service.feedback.log import ServedLog
from service.feedback.part import Row
from service.lifecycle.lifecycle import Lifecycle
from service.metrics import Metrics

FEEDBACK = "/feedback"
ACCEPTED = 202
CALLER_LEFT = 499
MAX_OUTCOMES = 1000
MAX_VALUE = 1e12

_log = logging.getLogger("choirrec")


class FeedbackOutcome(msgspec.Struct, forbid_unknown_fields=True):
    """What became of one candidate of one answered request."""

    request_id: Annotated[
        str,
        msgspec.Meta(
            description="As in the answer", extra_json_schema={"pattern": f"^{REQUEST_ID}$"}
        ),
    ]
    item_id: Id
    outcome: Outcome
    time: Annotated[
        float,
        msgspec.Meta(
            description="When it happened, in seconds since the epoch; from 2000-01-01 to one day "
            "ahead"
        ),
    ]
    value: (
        Annotated[
            float,
            msgspec.Meta(
                ge=0, le=MAX_VALUE, description="Of an order, in one currency: its part of the GMV"
            ),
        ]
        | None
    ) = None


class FeedbackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Outcomes, in any order; the same one may be sent again and counts once."""

    outcomes: Annotated[list[FeedbackOutcome], msgspec.Meta(min_length=1, max_length=MAX_OUTCOMES)]


class FeedbackResponse(msgspec.Struct):
    """What was taken."""

    accepted: int
    """Outcomes of requests that the log holds."""
    not_sampled: int
    """Outcomes of requests that the log leaves out."""


_decoder = msgspec.json.Decoder(FeedbackRequest)


class FeedbackRoute:
    """Decodes outcomes and hands them to the log; problems as those of the scoring route."""

    def __init__(
        self,
        log: ServedLog | None,
        lifecycle: Lifecycle,
        metrics: Metrics,
        max_body_bytes: int,
        secret: bytes | None,
    ) -> None:
        """Make the route.

        Args:
            log: takes the outcomes; None: every call is refused.
            lifecycle: knows whether the worker is about to end.
            metrics: counts calls.
            max_body_bytes: bytes of a body at most.
            secret: the API key; None: no key is asked for.
        """
        self._served_log = log
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request to ``FEEDBACK``."""
        reply = await self._reply(scope, receive)
        status = reply.status if reply else CALLER_LEFT
        self._metrics.requests("feedback", status).inc()
        if reply is not None:
            await respond(send, closing(reply, draining=self._lifecycle.draining))

    async def _reply(self, scope: Scope, receive: Receive) -> Reply | None:
        headers = headers_of(scope)
        request_id = request_id_of(headers)
        try:
            taken = await self._answer(scope, headers, receive)
        except ServiceError as error:
            return problem_reply(error.code, error.detail, FEEDBACK, request_id)
        except Exception:
            _log.exception("request %s failed", request_id)
            detail = f"the service made a mistake; its log names {request_id}"
            return problem_reply("internal", detail, FEEDBACK, request_id)
        if taken is None:
            return None
        payload = orjson.dumps(msgspec.structs.asdict(taken))
        return Reply(ACCEPTED, JSON_TYPE, payload, [(b"x-request-id", request_id.encode())])

    async def _answer(
        self, scope: Scope, headers: Headers, receive: Receive
    ) -> FeedbackResponse | None:
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method']} {FEEDBACK}: use POST")
        check_key(headers, self._secret)
        body = await read_body(headers, receive, self._max_body_bytes)
        return None if body is None else self._take(body)

    def _take(self, body: bytes) -> FeedbackResponse:
        rows = _rows(decoded(_decoder, body).outcomes)
        if self._served_log is None:
            raise NoLog("this service keeps no log of requests; set CHOIRREC_LOG to keep one")
        kept = [row for row in rows if self._served_log.keeps(str(row["request_id"]))]
        if not self._served_log.add_outcomes(kept):
            raise LogFull("too many rows wait for the log's disk; send all of them again later")
        return FeedbackResponse(accepted=len(kept), not_sampled=len(rows) - len(kept))


def _rows(outcomes: Sequence[FeedbackOutcome]) -> list[Row]:
    now_s = time.time()
    return [_row(outcome, f"outcomes[{n}].", now_s) for n, outcome in enumerate(outcomes)]


def _row(outcome: FeedbackOutcome, where: str, now_s: float) -> Row:
    if not re.fullmatch(REQUEST_ID, outcome.request_id):
        raise InvalidRequest(
            f"{where}request_id: {outcome.request_id[:140]!r}, expected the one of an answer: 1 to "
            "128 printable ASCII characters without spaces"
        )
    if not EARLIEST_S <= outcome.time <= now_s + LATEST_AHEAD_S:
        raise InvalidRequest(
            f"{where}time: {outcome.time!r}, expected seconds since the epoch from {EARLIEST_S} to "
            "one day ahead of now"
        )
    return {
        "request_id": outcome.request_id,
        "item_id": checked_id(outcome.item_id, f"{where}item_id"),
        "outcome": outcome.outcome,
        "time_s": outcome.time,
        "value": outcome.value,
        "received_s": now_s,
    }
