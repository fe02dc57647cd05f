"""Malformed HTTP: every kind gives its stated status and code, and none is the service's fault."""

import json
import socket

import pytest

from tests.fixtures.services import LiveService, body, read_response

ID = "x" * 64
CASES: list[tuple[str, bytes | str, int, str]] = [
    ("empty", b"", 400, "malformed_json"),
    ("not JSON", b"user=1", 400, "malformed_json"),
    ("cut short", b'{"user_id": "u", "item_ids": ["a"', 400, "malformed_json"),
    ("trailing text", body() + "x", 400, "malformed_json"),
    ("NaN", b'{"user_id":"u","item_ids":["a"],"request_time":NaN}', 400, "malformed_json"),
    ("not UTF-8", b'{"user_id":"\xff","item_ids":["a"]}', 400, "malformed_json"),
    ("lone surrogate", rb'{"user_id":"\ud800","item_ids":["a"]}', 400, "malformed_json"),
    ("byte order mark", b"\xef\xbb\xbf" + body().encode(), 400, "malformed_json"),
    ("single quotes", b"{'user_id':'u'}", 400, "malformed_json"),
    ("an array", b"[]", 422, "invalid_request"),
    ("a null", b"null", 422, "invalid_request"),
    ("depth", b'{"user_id":' + b"[" * 100_000, 422, "invalid_request"),
    ("no user", b'{"item_ids":["a"]}', 422, "invalid_request"),
    ("no items", b'{"user_id":"u"}', 422, "invalid_request"),
    ("empty items", body(item_ids=[]), 422, "invalid_request"),
    ("items no list", body(item_ids="a"), 422, "invalid_request"),
    ("item null", body(item_ids=[None]), 422, "invalid_request"),
    ("item float", body(item_ids=[1.5]), 422, "invalid_request"),
    ("item boolean", body(item_ids=[True]), 422, "invalid_request"),
    ("item object", body(item_ids=[{}]), 422, "invalid_request"),
    ("user empty", body(user_id=""), 422, "invalid_request"),
    ("user too long", body(user_id=ID + "x"), 422, "invalid_request"),
    ("user too long in bytes", body(user_id="é" * 33), 422, "invalid_request"),
    ("item too long", body(item_ids=["a", ID + "x"]), 422, "invalid_request"),
    ("item huge integer", f'{{"user_id":"u","item_ids":[{"9" * 5000}]}}', 422, "invalid_request"),
    ("user integer of 65", f'{{"user_id":{"9" * 65},"item_ids":[1]}}', 422, "invalid_request"),
    ("unknown field", body(items=["a"]), 422, "invalid_request"),
    ("hour 24", body(context={"hour": 24}), 422, "invalid_request"),
    ("weekday 7", body(context={"weekday": 7}), 422, "invalid_request"),
    ("context list", body(context=[]), 422, "invalid_request"),
    ("time text", body(request_time="2024-01-01T00:00:00Z"), 422, "invalid_request"),
    ("time far past", body(request_time=-1), 422, "invalid_request"),
    ("time far future", body(request_time=32_503_680_000), 422, "invalid_request"),
    (
        "time infinite",
        b'{"user_id":"u","item_ids":["a"],"request_time":1e999}',
        422,
        "invalid_request",
    ),
    ("request id", body(request_id="a\r\nb"), 422, "invalid_request"),
    ("request id, newline", body(request_id="abc\n"), 422, "invalid_request"),
    ("request id, empty", body(request_id=""), 422, "invalid_request"),
    ("request id, long", body(request_id="x" * 129), 422, "invalid_request"),
    ("attributes list", body(user_attributes=["a"]), 422, "invalid_request"),
    ("too many items", body(item_ids=list(range(1001))), 413, "too_many_candidates"),
    ("too many bytes", body(item_ids=["x" * (1 << 20)]), 413, "body_too_large"),
]


@pytest.mark.parametrize(
    ("sent", "status", "code"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_malformed_body_gives_its_problem(
    live: LiveService, sent: bytes | str, status: int, code: str
) -> None:
    """The caller learns what was wrong, as a problem document, and the service lives on."""
    reply = live.post(sent, **{"X-Request-ID": "mine"})
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["error"] == problem["detail"] != ""
    assert (problem["status"], problem["instance"]) == (status, "/score")
    assert problem["request_id"] == "mine" == reply.headers["x-request-id"]
    assert live.post(body()).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/score", 405, "method_not_allowed"),
        ("PUT", "/score/batch", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/", 404, "not_found"),
        ("POST", "/score/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
    ],
)
def test_wrong_path_or_method_gives_its_problem(
    live: LiveService, method: str, path: str, status: int, code: str
) -> None:
    """The framework's own refusals are problem documents, too."""
    reply = live.http.request(method, path)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.headers.get("allow") is not None) == (status == 405)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
        ({"Content-Type": "text/plain"}, 200, None),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 200, None),
    ],
)
def test_headers_that_matter_are_few(
    live: LiveService, headers: dict[str, str], status: int, code: str | None
) -> None:
    """A compressed body is refused; the content type does not matter, the body is JSON."""
    reply = live.post(body(), **headers)
    assert reply.status_code == status
    assert reply.json().get("code") == code


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"rubbish\r\n\r\n", 400, "malformed_http"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "malformed_http"),
        (b"POST /score HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400, "malformed_http"),
        (
            b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            400,
            "malformed_http",
        ),
        (
            b"GET /health/live HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
            431,
            "headers_too_large",
        ),
        (b"GET /" + b"a" * 20_000, 431, "headers_too_large"),
        (b"POST /score HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n", 413, "body_too_large"),
    ],
    ids=["words", "version", "length", "chunk", "header", "path", "announced"],
)
def test_malformed_http_gives_its_problem(
    live: LiveService, raw: bytes, status: int, code: str
) -> None:
    """Bytes that are no request are answered, too, before the connection closes."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        connection.sendall(raw)
        head, _, problem = read_response(connection).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert json.loads(problem)["code"] == code


def test_chunked_body_is_refused_while_it_streams(live: LiveService) -> None:
    """An endless body is refused at the limit, not at its end."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        part = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        for _ in range(17):
            connection.sendall(part)
        head, _, problem = read_response(connection).partition(b"\r\n\r\n")
    assert head.split()[1] == b"413"
    assert json.loads(problem)["code"] == "body_too_large"
    assert live.post(body()).status_code == 200


def test_malformed_batches_give_their_problem(live: LiveService) -> None:
    """Batches are checked as single requests are, and bounded in number."""
    one = json.loads(body())
    for requests, status, code in [
        ([], 422, "invalid_request"),
        ([one] * 65, 413, "too_many_candidates"),
        ([one, {**one, "user_id": ""}], 422, "invalid_request"),
        ([one, {**one, "request_id": "abc\n"}], 422, "invalid_request"),
    ]:
        reply = live.http.post("/score/batch", json={"requests": requests})
        assert (reply.status_code, reply.json()["code"]) == (status, code)
