"""The scoring route: POST /score and POST /score/batch, on bare ASGI inside the app."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from service.api.answer import answer
from service.api.http import (
    JSON_TYPE,
    Headers,
    Receive,
    Reply,
    Scope,
    Send,
    check_key,
    headers_of,
    problem_reply,
    read_body,
    request_id_of,
    respond,
)
from service.api.wire import Call, Limits, parse_batch, parse_single
from service.errors import PROBLEMS, MethodNotAllowed, ServiceError
from service.lifecycle.lifecycle import Lifecycle
from service.metrics import Metrics

ROUTES: Mapping[str, str] = {"/score": "score", "/score/batch": "batch"}
"""Paths of this route, and their names in metrics."""
CALLER_LEFT = 499

_log = logging.getLogger("choirrec")
_PARSERS: Mapping[str, Callable[[bytes, Limits, str], list[Call]]] = {
    "score": parse_single,
    "batch": parse_batch,
}


class ScoringRoute:
    """Decodes, answers and encodes; whatever goes wrong becomes a problem document."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        metrics: Metrics,
        limits: Limits,
        max_body_bytes: int,
        secret: bytes | None,
    ) -> None:
        """Make the route.

        Args:
            lifecycle: gives the model to answer with.
            metrics: counts.
            limits: how much one call may hold.
            max_body_bytes: bytes of a body at most.
            secret: the API key; None: no key is asked for.
        """
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._limits = limits
        self._max_body_bytes = max_body_bytes
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request to a path of ``ROUTES``."""
        route = ROUTES[scope["path"]]
        started_s = time.perf_counter()
        status = CALLER_LEFT
        self._metrics.in_flight.inc()
        try:
            reply = await self._reply(route, scope, receive)
            if reply is not None:
                # The one place that sends: whatever fails in it, no second response follows.
                await respond(send, self._closing(reply))
                status = reply.status
        except Exception:
            status = PROBLEMS["internal"].status
            raise
        finally:
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_duration.observe(time.perf_counter() - started_s, route)

    async def _reply(self, route: str, scope: Scope, receive: Receive) -> Reply | None:
        """The answer or the problem; None: the caller left."""
        headers = headers_of(scope)
        request_id = request_id_of(headers)
        try:
            return await self._answer(route, scope, headers, request_id, receive)
        except ServiceError as error:
            code, detail = error.code, error.detail
        except Exception:
            _log.exception("request %s failed", request_id)
            code, detail = "internal", f"the service made a mistake; its log names {request_id}"
        return problem_reply(code, detail, scope["path"], request_id)

    def _closing(self, reply: Reply) -> Reply:
        """The same; while draining, it asks the caller for a new connection."""
        if not self._lifecycle.draining:
            return reply
        return replace(reply, headers=[*reply.headers, (b"connection", b"close")])

    async def _answer(
        self, route: str, scope: Scope, headers: Headers, request_id: str, receive: Receive
    ) -> Reply | None:
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method']} {scope['path']}: use POST")
        check_key(headers, self._secret)
        body = await read_body(headers, receive, self._max_body_bytes)
        if body is None:
            return None
        started_s = time.perf_counter()
        calls = _PARSERS[route](body, self._limits, request_id)
        self._metrics.stage_duration.observe(time.perf_counter() - started_s, "parse")
        with self._lifecycle.current() as served:
            payload = self._encoded(route, await answer(served, calls, self._metrics))
            version = str(served.version).encode()
        named = calls[0].request_id if route == "score" else request_id
        extra = [(b"x-model-version", version), (b"x-request-id", named.encode())]
        return Reply(200, JSON_TYPE, payload, extra)

    def _encoded(self, route: str, answers: Sequence[Any]) -> bytes:
        started_s = time.perf_counter()
        document = answers[0] if route == "score" else {"responses": answers}
        payload = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        self._metrics.stage_duration.observe(time.perf_counter() - started_s, "encode")
        return payload
