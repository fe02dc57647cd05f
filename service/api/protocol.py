"""HTTP/1.1 on uvicorn's own parser, with a deadline and a size limit on what arrives."""

from asyncio import TimerHandle, Transport

import orjson
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.errors import PROBLEM_MEDIA_TYPE, PROBLEMS, problem_body

MAX_HEADER_BYTES = 16 * 1024
LINGER_S = 0.5
"""For requests that are on their way over idle connections when the server ends."""
_TOO_LARGE = f"more than {MAX_HEADER_BYTES} bytes of headers; send fewer or shorter ones"


class _HeadersTooLarge(Exception):
    """Raised inside the parser's callbacks, to stop it."""


class GuardedProtocol(HttpToolsProtocol):
    """Closes connections whose request does not arrive in time or has huge headers.

    The deadline runs from a connection's opening, or from the first byte of a later request, to
    the request's last byte; while a request is being answered, no clock runs.
    """

    receipt_deadline_s = 5.0
    """Set by ``guarded``."""

    _timer: TimerHandle | None = None
    _begun = False
    """Whether a request has begun to arrive and has not arrived whole."""
    _in_headers = False
    _header_bytes = 0
    _oversized = False
    leaving = False
    """Whether the server ends, and every answer is the last one of its connection."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then run or stop the clock."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse("headers_too_large", _TOO_LARGE)
                return
        # Bytes outside of any request, such as empty lines, do not keep a connection open.
        if self._begun or self._idle():
            self._start_clock()
        else:
            self._stop_clock()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._begun, self._in_headers, self._header_bytes = True, True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Weigh the headers before anybody sees them."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEADER_BYTES:
            self._oversized = True
            raise _HeadersTooLarge
        self._in_headers = False
        super().on_headers_complete()
        if self.leaving:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """A request has arrived whole."""
        self._begun = False
        super().on_message_complete()

    def shutdown(self) -> None:
        """The server ends: answer what is arriving, or may be on its way, and close."""
        self.leaving = True
        if self._idle():
            self.loop.call_later(LINGER_S, self._let_go)
        else:
            super().shutdown()

    def _let_go(self) -> None:
        """Close a connection that is still idle; what has begun has the receipt deadline."""
        if self._idle() and not self._begun:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused with a problem document."""
        if self._oversized:
            self._refuse("headers_too_large", _TOO_LARGE)
        else:
            if not self._begun:
                self._begun = self._in_headers = True
            self._refuse("malformed_http", msg)

    def _start_clock(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.receipt_deadline_s, self._too_late)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        seconds = f"{self.receipt_deadline_s:g} s"
        self._refuse("receipt_timeout", f"the request did not arrive whole within {seconds}")

    def _refuse(self, code: str, detail: str) -> None:
        """Answer with a problem where an answer is still owed and can be placed, and close."""
        if self._begun and not self.pipeline and self._nothing_sent():
            body = orjson.dumps(problem_body(code, detail, "", ""))
            head = (
                f"content-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
                "connection: close\r\n\r\n"
            )
            self.transport.write(STATUS_LINE[PROBLEMS[code].status] + head.encode() + body)
        self.transport.close()

    def _nothing_sent(self) -> bool:
        """Whether the request that is arriving has not been answered, nor an earlier one is."""
        if self._in_headers:
            return self._idle()
        return not self._idle() and not self.cycle.response_started

    def _idle(self) -> bool:
        """Whether no request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete


def guarded(receipt_deadline_s: float) -> type[GuardedProtocol]:
    """The protocol with a deadline.

    Args:
        receipt_deadline_s: time for a whole request to arrive, in seconds.

    Returns:
        A class for uvicorn's ``http`` setting.
    """
    return type("Guarded", (GuardedProtocol,), {"receipt_deadline_s": receipt_deadline_s})
