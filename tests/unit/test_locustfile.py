"""The load test, run against a small server that answers as it is told."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.load import STREAMS, run_load, write_traffic

ITEMS = [f"item-{n}" for n in range(60)]
Answer = Callable[[Sequence[str]], tuple[int, Any]]


def _right(items: Sequence[str]) -> tuple[int, Any]:
    return 200, {"item_ids": list(items), "scores": [0.25] * len(items)}


def _reversed(items: Sequence[str]) -> tuple[int, Any]:
    return 200, {"item_ids": list(items)[::-1], "scores": [0.25] * len(items)}


def _failing(items: Sequence[str]) -> tuple[int, Any]:
    return 500, {"error": "of its own making", "asked": len(items)}


class _Server(ThreadingHTTPServer):
    """A server that keeps the bodies it was sent."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer as the server was told."""
        assert isinstance(self.server, _Server)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body | {"path": self.path})
        status, document = self.server.answer(body["item_ids"])
        payload = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _serving(answer: Answer) -> Iterator[_Server]:
    with _Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _write(folder: Path, url: str) -> None:
    write_traffic(folder, url, {f"user-{n}": 1 + n % 5 for n in range(20)}, ITEMS, 1_500_000_000)


def test_right_answers_are_no_failures(tmp_path: Path) -> None:
    """Load on a service that answers well ends with every call counted, none failed."""
    with _serving(_right) as server:
        _write(tmp_path, server.url)
        run = run_load(tmp_path, "1,50", 2)
    assert (run.code, run.failures) == (0, 0), run.said
    assert run.calls == len(server.bodies) > 0
    assert {body["path"] for body in server.bodies} == {"/score"}
    assert {len(body["item_ids"]) for body in server.bodies} == {1, 50}
    assert {body["request_time"] for body in server.bodies} == {1_500_000_000}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_reversed, "item_ids are not the candidates in their order"),
        (_failing, "status 500, expected 200"),
    ],
)
def test_wrong_answers_are_failures(tmp_path: Path, answer: Answer, words: str) -> None:
    """An answer that is quick but wrong never passes for a good one."""
    with _serving(answer) as server:
        _write(tmp_path, server.url)
        run = run_load(tmp_path, "50", 1)
    assert run.code == 1
    assert run.calls == run.failures > 0
    assert words in run.said


def test_slow_answers_do_not_slow_the_calls_down(tmp_path: Path) -> None:
    """A service that answers nobody is asked as often as before: its stall cannot hide."""
    release = threading.Event()

    def stalled(items: Sequence[str]) -> tuple[int, Any]:
        if len(server.bodies) > STREAMS:  # more than one call of a stream, and no answer yet
            release.set()
        release.wait(5)
        return _right(items)

    with _serving(stalled) as server:
        _write(tmp_path, server.url)
        run = run_load(tmp_path, "1", 4)
    assert release.is_set(), run.said
    assert (run.code, run.failures) == (0, 0), run.said


def test_missing_file_names_the_way_to_it(tmp_path: Path) -> None:
    """Whoever starts the load test before the demo reads what to do first."""
    run = run_load(tmp_path, "1", 1)
    assert run.code == 2
    assert "there is no var/load.json: run `make demo` first" in run.said


def test_another_machine_is_refused(tmp_path: Path) -> None:
    """A file that names another machine sends it nothing, unless a person names it too."""
    _write(tmp_path, "http://scoring.example:8080")
    run = run_load(tmp_path, "1", 1)
    assert run.code == 2
    assert "say --host http://scoring.example:8080" in run.said
    with _serving(_right) as server:
        named = run_load(tmp_path, "1", 1, "--host", server.url)
    assert named.code == 0
    assert server.bodies


def test_silent_port_counts_as_failures(tmp_path: Path) -> None:
    """A service that is not there fails every call, with the reason."""
    with _serving(_right) as server:
        url = server.url
    _write(tmp_path, url)
    run = run_load(tmp_path, "1", 1)
    assert run.code == 1
    assert run.calls == run.failures > 0
    assert "refused" in run.said.lower()
