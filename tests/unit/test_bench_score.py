"""The bench of scoring: what it divides by what, and which answers it takes."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from loadtests import bench_score
from loadtests.bench_score import Plan
from loadtests.scoring.callers import Round, WrongAnswer, call
from loadtests.scoring.raw_loop import RawLoop

ASK = b"POST /score HTTP/1.1\r\ncontent-length: 0\r\n\r\n"


class _Loop:
    """A raw loop of known costs."""

    def __init__(self, costs_us: Iterator[float]) -> None:
        self._costs_us = costs_us

    def cpu_us(self, candidates: int, runs: int) -> float:
        return next(self._costs_us)


def test_figures_are_medians_over_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service of a round is set beside the loop before and after it."""
    costs = iter([1.0, *(100.0, 100.0), *(100.0, 300.0), *(50.0, 50.0)])
    answered = iter([1.0, 200.0, 400.0, 500.0])

    def asked(*_: Any) -> Round:
        return Round(next(answered), 10.0, (2.0, 3.0))

    monkeypatch.setattr(bench_score, "call", asked)
    monkeypatch.setattr(bench_score, "payloads", lambda *_: [])
    plan, loop = Plan(3, {1: 8}), cast(RawLoop, _Loop(costs))
    figures = bench_score._beside(cast(Any, None), 1, plan, 0, [], loop)
    assert figures == {
        "raw_1": 0.5,
        "aa_1": 1.0,
        "raw_us_1": 100.0,
        "service_us_1": 400.0,
        "outside_us_1": 200.0,
        "requests_s_1": 10.0,
        "p50_ms_1": 2.0,
        "p99_p50_1": 1.5,
    }


def test_calls_are_counted_and_timed() -> None:
    """So many answers cost so much of the processes that are named."""
    with _answering(b'200 OK\r\ncontent-length: 15\r\n\r\n{"degraded":[]}') as port:
        measured = call(port, [os.getpid()], [ASK], 40)
    assert measured.rate > 0
    assert measured.cpu_us >= 0
    assert 0 < measured.latency_ms[0] <= measured.latency_ms[1]


@pytest.mark.parametrize(
    "answer",
    [
        b'200 OK\r\ncontent-length: 30\r\n\r\n{"degraded":["redis_timeout"]}',
        b"503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_answers_that_rest_on_less_are_no_measurement(answer: bytes) -> None:
    """A service that degrades is quicker than one that answers in full."""
    with _answering(answer) as port, pytest.raises(WrongAnswer):
        call(port, [os.getpid()], [ASK], 4)


@contextmanager
def _answering(answer: bytes) -> Iterator[int]:
    """A port where every request gets the same answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(4096):
                connection.sendall(b"HTTP/1.1 " + answer)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
