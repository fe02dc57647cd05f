"""Clients that send slowly, or nothing, are closed; others do not notice them."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.bundles import World, publish
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import LiveService, body, live_service, read_response, settings_for

HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"


@pytest.fixture(scope="module")
def strict(home: Path, redis_server: RedisServer, world: World) -> Iterator[LiveService]:
    """A service that waits a second for a request to arrive."""
    publish(world, redis_server.client(), "g1")
    settings = settings_for(home, redis_server.url, receipt_deadline_ms=1000.0, keep_alive_s=1.0)
    with live_service(settings) as service:
        yield service


def _connect(service: LiveService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=10)


def _drip_until_closed(connection: socket.socket, first: bytes, drop: bytes) -> tuple[bytes, float]:
    """Send a byte every 50 ms; what came back, and when the connection ended, in seconds."""
    begun = time.monotonic()
    connection.sendall(first)
    connection.settimeout(0.05)
    answer = b""
    while time.monotonic() - begun < 10:
        try:
            part = connection.recv(65_536)
            if not part:
                break
            answer += part
        except TimeoutError:
            pass
        except ConnectionError:
            break
        try:
            connection.sendall(drop)
        except OSError:
            break
    return answer, time.monotonic() - begun


@pytest.mark.parametrize(
    ("first", "drop"),
    [(HEAD, b"X"), (HEAD + b"\r\n{", b" "), (b"POST /", b"a")],
    ids=["headers", "body", "path"],
)
def test_dripping_request_is_closed_with_a_problem(
    strict: LiveService, first: bytes, drop: bytes
) -> None:
    """However a request drips, it ends at the deadline, with 408."""
    with _connect(strict) as connection:
        answer, seconds = _drip_until_closed(connection, first, drop)
    assert 0.9 < seconds < 9
    assert answer.split()[1] == b"408"
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "receipt_timeout"


@pytest.mark.parametrize("first", [b"", b"\r\n"], ids=["nothing", "empty line"])
def test_idle_connection_is_closed_without_a_word(strict: LiveService, first: bytes) -> None:
    """Sockets that send no request do not stay, not even with empty lines."""
    with _connect(strict) as connection:
        answer, seconds = _drip_until_closed(connection, first, b"\r\n" if first else b"")
    assert answer == b""
    assert seconds < 8


def test_empty_lines_after_a_request_do_not_keep_a_connection(strict: LiveService) -> None:
    """A kept-alive connection is closed, too, when nothing but noise follows."""
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with _connect(strict) as connection:
        answer, seconds = _drip_until_closed(connection, request, b"\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert seconds < 8


def test_refused_upload_gets_one_answer_and_is_closed(strict: LiveService) -> None:
    """After 413 the rest of a body is thrown away, until the deadline and no longer."""
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n"
    with _connect(strict) as connection:
        answer, seconds = _drip_until_closed(connection, head, b"x" * 1000)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.split()[1] == b"413"
    assert seconds < 8


def test_many_slow_clients_do_not_keep_others_out(strict: LiveService) -> None:
    """While a hundred sockets drip, everybody else is answered."""
    slow = [_connect(strict) for _ in range(100)]
    for connection in slow:
        connection.sendall(HEAD)
    statuses = [strict.post(body()).status_code for _ in range(50)]
    for connection in slow:
        connection.close()
    assert statuses == [200] * 50


def test_deadline_does_not_touch_prompt_clients(strict: LiveService) -> None:
    """A kept-alive connection that is used again and again outlives the receipt deadline."""
    request = body().encode()
    text = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
        len(request),
        request,
    )
    begun = time.monotonic()
    with _connect(strict) as connection:
        while time.monotonic() - begun < 2.2:
            connection.sendall(text)
            assert read_response(connection).startswith(b"HTTP/1.1 200")
            time.sleep(0.2)
