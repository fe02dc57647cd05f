"""The order door: whoever has no key, or sends too much, is turned away before anything is read."""

from service.api.http import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    check_key,
    headers_of,
    problem_reply,
    read_body,
    request_id_of,
    respond,
)
from service.errors import ServiceError

ORDERS = "/admin/"
MAX_ORDER_BYTES = 65_536
"""An order names a target and a reason of 1,000 characters."""


class OrderDoor:
    """ASGI middleware before the admin routes, which read a body before they look at a key."""

    def __init__(self, app: App, secret: bytes | None) -> None:
        """Stand before an app.

        Args:
            app: takes what is let in.
            secret: the admin key; None: no key is asked for.
        """
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in with its whole body, or answer with the problem."""
        if scope["type"] != "http" or not scope["path"].startswith(ORDERS):
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        try:
            check_key(headers, self._secret)
            body = await read_body(headers, receive, MAX_ORDER_BYTES)
        except ServiceError as error:
            told = problem_reply(error.code, error.detail, scope["path"], request_id_of(headers))
            await respond(send, told)
            return
        if body is not None:
            await self._app(scope, _once(body, receive), send)


def _once(body: bytes, receive: Receive) -> Receive:
    """The body first, then whatever else comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> Message:
        return messages.pop() if messages else await receive()

    return read
