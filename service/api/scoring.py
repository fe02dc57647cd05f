"""The scoring route: POST /score and POST /score/batch, on bare ASGI inside the app."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import orjson

from service.api.answer import Answer, answer
from service.api.http import (
    JSON_TYPE,
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
from service.api.wire import Call, Limits, parse_batch, parse_single
from service.errors import PROBLEMS, MethodNotAllowed, ServiceError
from service.lifecycle.lifecycle import Lifecycle
from service.lifecycle.roles import Roles
from service.lifecycle.served_model import ServedModel
from service.metrics import Metrics

ROUTES: Mapping[str, str] = {"/score": "score", "/score/batch": "batch"}
"""Paths of this route, and their names in metrics."""
OK = 200
CALLER_LEFT = 499
TESTER = b"x-choirrec-canary"
"""The header by which a tester asks for the canary, with the value 1."""

_log = logging.getLogger("choirrec")
_PARSERS: Mapping[str, Callable[[bytes, Limits, str], list[Call]]] = {
    "score": parse_single,
    "batch": parse_batch,
}


@dataclass(frozen=True, eq=False)
class Share:
    """The calls of one request that one model answers."""

    served: ServedModel
    role: str
    """champion or canary."""
    places: list[int]
    """Of the calls in the request."""


@dataclass(eq=False)
class Exchange:
    """One HTTP request and what became of it."""

    route: str
    shares: Sequence[Share] = ()
    """Empty until models were chosen; after a failure, the one that failed."""
    body: bytes = b""
    calls: Sequence[Call] = ()
    answers: Sequence[Answer] = ()
    """One per call."""
    roles: Roles = field(default_factory=Roles)
    """Among which models were chosen."""
    seconds: float = 0.0
    """From the first byte handed over to the last byte sent."""
    headers: Headers = field(default_factory=dict)

    @property
    def tester(self) -> bool:
        """Whether the caller asks for the canary."""
        return self.headers.get(TESTER) == b"1"


Watcher = Callable[[Exchange], None]
"""Told of every answered request, after its last byte was sent; must not block."""


class ScoringRoute:
    """Decodes, answers and encodes; whatever goes wrong becomes a problem document."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        metrics: Metrics,
        limits: Limits,
        max_body_bytes: int,
        secret: bytes | None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        """Make the route.

        Args:
            lifecycle: gives the model to answer with.
            metrics: counts.
            limits: how much one call may hold.
            max_body_bytes: bytes of a body at most.
            secret: the API key; None: no key is asked for.
            watchers: told of every answered request.
        """
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._limits = limits
        self._max_body_bytes = max_body_bytes
        self._secret = secret
        self._watchers = watchers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request to a path of ``ROUTES``."""
        exchange = Exchange(ROUTES[scope["path"]])
        started_s = time.perf_counter()
        status = CALLER_LEFT
        self._metrics.in_flight.inc()
        try:
            reply = await self._reply(exchange, scope, receive)
            if reply is not None:
                # The one place that sends: whatever fails in it, no second response follows.
                await respond(send, closing(reply, draining=self._lifecycle.draining))
                status = reply.status
        except Exception:
            status = PROBLEMS["internal"].status
            raise
        finally:
            self._metrics.in_flight.dec()
            exchange.seconds = time.perf_counter() - started_s
            self._count(exchange, status)
        if status == OK:
            self._tell(exchange)

    async def _reply(self, exchange: Exchange, scope: Scope, receive: Receive) -> Reply | None:
        """The answer or the problem; None: the caller left."""
        exchange.headers = headers_of(scope)
        request_id = request_id_of(exchange.headers)
        try:
            return await self._answer(exchange, scope, request_id, receive)
        except ServiceError as error:
            code, detail = error.code, error.detail
        except Exception:
            _log.exception("request %s failed", request_id)
            code, detail = "internal", f"the service made a mistake; its log names {request_id}"
        return problem_reply(code, detail, scope["path"], request_id)

    async def _answer(
        self, exchange: Exchange, scope: Scope, request_id: str, receive: Receive
    ) -> Reply | None:
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method']} {scope['path']}: use POST")
        check_key(exchange.headers, self._secret)
        body = await read_body(exchange.headers, receive, self._max_body_bytes)
        if body is None:
            return None
        started_s = time.perf_counter()
        calls = _PARSERS[exchange.route](body, self._limits, request_id)
        self._metrics.stage_duration.observe(time.perf_counter() - started_s, "parse")
        exchange.body, exchange.calls = body, calls
        with ExitStack() as leases:
            exchange.shares = shares = self._shares(exchange)
            for share in shares:
                leases.enter_context(share.served)
            payload = self._encoded(exchange.route, await self._answers(exchange))
        versions = ", ".join(str(share.served.version) for share in shares)
        named = calls[0].request_id if exchange.route == "score" else request_id
        extra = [(b"x-model-version", versions.encode()), (b"x-request-id", named.encode())]
        return Reply(OK, JSON_TYPE, payload, extra)

    def _shares(self, exchange: Exchange) -> list[Share]:
        """Who answers which call: each by its own user, before anything is read of them."""
        lifecycle = self._lifecycle
        exchange.roles = roles = lifecycle.roles
        shares: dict[ServedModel, Share] = {}
        for place, call in enumerate(exchange.calls):
            served = lifecycle.current(call.user_id, tester=exchange.tester)
            if served not in shares:
                role = "canary" if served is roles.canary else "champion"
                shares[served] = Share(served, role, [])
            shares[served].places.append(place)
        return list(shares.values())

    async def _answers(self, exchange: Exchange) -> Sequence[Answer]:
        """The answers in the order of the calls."""
        by_place: dict[int, Answer] = {}
        for share in exchange.shares:
            calls = [exchange.calls[place] for place in share.places]
            try:
                found = await answer(share.served, calls, self._metrics)
            except Exception:
                exchange.shares = [share]
                raise
            by_place.update(zip(share.places, found, strict=True))
        exchange.answers = [by_place[place] for place in range(len(exchange.calls))]
        return exchange.answers

    def _tell(self, exchange: Exchange) -> None:
        """Tell the watchers; the answer has been sent, and their troubles are not the caller's."""
        for watcher in self._watchers:
            try:
                watcher(exchange)
            except Exception:
                _log.exception("a watcher of answers failed")

    def _count(self, exchange: Exchange, status: int) -> None:
        failed = status >= PROBLEMS["internal"].status
        self._metrics.requests(exchange.route, status).inc()
        self._metrics.request_duration.observe(exchange.seconds, exchange.route)
        for share in exchange.shares:
            calls = len(share.places)
            share.served.tally.answered(exchange.seconds, calls, failed=failed)
            self._metrics.role_calls[share.role].inc(calls)
            if failed:
                self._metrics.role_errors[share.role].inc(calls)

    def _encoded(self, route: str, answers: Sequence[Answer]) -> bytes:
        started_s = time.perf_counter()
        responses = [one.columns for one in answers]
        document = responses[0] if route == "score" else {"responses": responses}
        payload = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        self._metrics.stage_duration.observe(time.perf_counter() - started_s, "encode")
        return payload
