"""The load test, run against a small server that answers as it is told."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ITEMS = [f"item-{n}" for n in range(60)]
STREAMS = 20
Answer = Callable[[Sequence[str]], tuple[int, Any]]


def _right(items: Sequence[str]) -> tuple[int, Any]:
    return 200, {"item_ids": list(items), "scores": [0.25] * len(items)}


def _reversed(items: Sequence[str]) -> tuple[int, Any]:
    return 200, {"item_ids": list(items)[::-1], "scores": [0.25] * len(items)}


def _undefined(items: Sequence[str]) -> tuple[int, Any]:
    return 200, {"item_ids": list(items), "scores": [float("nan")] * len(items)}


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


def _write_traffic(folder: Path, url: str) -> None:
    levels = [1, 2, 3, 4, 5] * 4
    users = [{"user_id": f"user-{n}", "activity_level": level} for n, level in enumerate(levels)]
    document = {"url": url, "users": users, "item_ids": ITEMS, "request_time": 1_500_000_000}
    path = folder / "var" / "load.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))


def _run(folder: Path, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run Locust in a folder of its own, as a person would from the project's root."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py")]
    command += ["--headless", "--users", str(STREAMS), "--spawn-rate", str(STREAMS)]
    command += ["--run-time", "2s", "--json", "--only-summary", *options]
    fixed = {"CHOIRREC_LOAD_CANDIDATES": "1,50", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **fixed, **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def _counts(ended: "subprocess.CompletedProcess[str]") -> tuple[int, int]:
    """Calls and failed calls."""
    rows = json.loads(ended.stdout)
    return sum(r["num_requests"] for r in rows), sum(r["num_failures"] for r in rows)


def test_right_answers_are_no_failures(tmp_path: Path) -> None:
    """Load on a service that answers well ends with every call counted, none failed."""
    with _serving(_right) as server:
        _write_traffic(tmp_path, server.url)
        ended = _run(tmp_path)
    calls, failures = _counts(ended)
    assert (ended.returncode, failures) == (0, 0), ended.stderr
    assert calls == len(server.bodies) > 0
    assert {body["path"] for body in server.bodies} == {"/score"}
    assert {len(body["item_ids"]) for body in server.bodies} == {1, 50}
    assert {body["request_time"] for body in server.bodies} == {1_500_000_000}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_reversed, "item_ids are not the candidates in their order"),
        (_undefined, "a score is not a finite number from 0 to 1"),
        (_failing, "status 500, expected 200"),
    ],
)
def test_wrong_answers_are_failures(tmp_path: Path, answer: Answer, words: str) -> None:
    """An answer that is quick but wrong never passes for a good one."""
    with _serving(answer) as server:
        _write_traffic(tmp_path, server.url)
        ended = _run(tmp_path, CHOIRREC_LOAD_CANDIDATES="50")
    calls, failures = _counts(ended)
    assert ended.returncode == 1
    assert calls == failures > 0
    assert words in ended.stderr


def test_slow_answers_do_not_slow_the_calls_down(tmp_path: Path) -> None:
    """A service that answers nobody is asked as often as before: its stall cannot hide."""
    release, sent = threading.Event(), threading.Event()

    def stalled(items: Sequence[str]) -> tuple[int, Any]:
        if len(server.bodies) > STREAMS + 1:  # more than one call of each stream and no answer
            sent.set()
            release.set()
        release.wait(30)
        return _right(items)

    with _serving(stalled) as server:
        _write_traffic(tmp_path, server.url)
        ended = _run(tmp_path, "--run-time", "4s")
        release.set()
    assert sent.is_set(), ended.stderr
    assert _counts(ended)[1] == 0


def test_missing_file_names_the_way_to_it(tmp_path: Path) -> None:
    """Whoever starts the load test before the demo reads what to do first."""
    ended = _run(tmp_path)
    assert ended.returncode == 2
    assert "there is no var/load.json: run `make demo` first" in ended.stderr


def test_another_machine_is_refused(tmp_path: Path) -> None:
    """A file that names another machine sends it nothing, unless a person names it too."""
    _write_traffic(tmp_path, "http://scoring.example:8080")
    ended = _run(tmp_path)
    assert ended.returncode == 2
    assert "say --host http://scoring.example:8080" in ended.stderr
    with _serving(_right) as server:
        named = _run(tmp_path, "--host", server.url)
    assert named.returncode == 0
    assert server.bodies


def test_silent_port_counts_as_failures(tmp_path: Path) -> None:
    """A service that is not there fails every call."""
    with _serving(_right) as server:
        url = server.url
    _write_traffic(tmp_path, url)
    ended = _run(tmp_path)
    calls, failures = _counts(ended)
    assert calls == failures > 0
    assert "refused" in ended.stderr.lower()
