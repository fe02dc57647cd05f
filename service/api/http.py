"""What every face needs of HTTP: headers, bodies within limits, keys and problem documents."""

import hmac
import os
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from service.errors import (
    PROBLEM_MEDIA_TYPE,
    PROBLEMS,
    BodyTooLarge,
    Unauthorised,
    UnsupportedEncoding,
    problem_body,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Mapping[bytes, bytes]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_TYPE = b"application/json"
REQUEST_ID = r"[!-~]{1,128}"
"""What a whole request id must match."""


def headers_of(scope: Scope) -> Headers:
    """The headers of a request by lower-case name; the last of several wins."""
    return dict(scope["headers"])


def request_id_of(headers: Headers) -> str:
    """The caller's X-Request-ID when it is printable and short, else a random one."""
    given = headers.get(b"x-request-id")
    header = "" if given is None else given.decode("latin-1")
    return header if re.fullmatch(REQUEST_ID, header) else os.urandom(8).hex()


def check_key(headers: Headers, secret: bytes | None) -> None:
    """Compare the caller's key with the secret, in constant time.

    Args:
        headers: X-API-Key, or Authorization with Bearer, carries the key.
        secret: what it must be; None: no key is asked for.

    Raises:
        Unauthorised: when there is none, or another one.
    """
    if secret is None:
        return
    bearer = headers.get(b"authorization", b"")
    scheme, _, token = bearer.partition(b" ")
    given = headers.get(b"x-api-key") or (token.strip() if scheme.lower() == b"bearer" else b"")
    if not hmac.compare_digest(given, secret):
        raise Unauthorised(
            "the call carries no valid key; send it as X-API-Key or as Authorization: Bearer"
        )


async def read_body(headers: Headers, receive: Receive, max_bytes: int) -> bytes | None:
    """Read a body without ever holding more than the limit.

    Args:
        headers: of the request.
        receive: the ASGI channel.
        max_bytes: the limit.

    Returns:
        The body, or None when the caller left before its end.

    Raises:
        UnsupportedEncoding: for a compressed body.
        BodyTooLarge: as soon as the announced or the received size passes the limit.
    """
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.strip().lower() != b"identity":
        raise UnsupportedEncoding(
            f"content-encoding {encoding.decode('latin-1')!r}: send the body uncompressed"
        )
    announced = headers.get(b"content-length")
    if announced is not None and int(announced) > max_bytes:
        raise BodyTooLarge(f"{int(announced)} bytes announced, at most {max_bytes} are read")
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += bytes(message.get("body", b""))
        if len(body) > max_bytes:
            raise BodyTooLarge(f"more than {max_bytes} bytes sent; split the request")
        if not message.get("more_body", False):
            return body


@dataclass(frozen=True)
class Reply:
    """One whole response, not sent yet."""

    status: int
    media_type: bytes
    body: bytes
    headers: Sequence[tuple[bytes, bytes]]
    """Besides content type and length."""


def closing(reply: Reply, *, draining: bool) -> Reply:
    """The same; while draining, it asks the caller for a new connection."""
    if not draining:
        return reply
    return replace(reply, headers=[*reply.headers, (b"connection", b"close")])


async def respond(send: Send, reply: Reply) -> None:
    """Send one whole response."""
    length = str(len(reply.body)).encode()
    headers = [(b"content-type", reply.media_type), (b"content-length", length), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def problem_reply(code: str, detail: str, path: str, request_id: str) -> Reply:
    """A problem document (RFC 9457).

    Args:
        code: a key of ``PROBLEMS``.
        detail: what failed, for people.
        path: of the request.
        request_id: of the request.

    Returns:
        The response that tells it.
    """
    body = orjson.dumps(problem_body(code, detail, path, request_id))
    headers = [(b"x-request-id", request_id.encode()), *problem_headers(code)]
    return Reply(PROBLEMS[code].status, PROBLEM_MEDIA_TYPE.encode(), body, headers)


def problem_headers(code: str) -> list[tuple[bytes, bytes]]:
    """The headers that a code brings along."""
    extra = {
        "method_not_allowed": (b"allow", b"POST"),
        "unauthorised": (b"www-authenticate", b"Bearer"),
        "not_ready": (b"retry-after", b"1"),
        "log_full": (b"retry-after", b"1"),
    }
    return [extra[code]] if code in extra else []
