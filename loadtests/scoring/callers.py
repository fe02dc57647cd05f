"""Callers in a closed loop: a fixed number of requests under way, and what they cost a worker."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from loadtests.scoring.shop import Shop
from loadtests.swaps.lanes import Line

AT_ONCE = 8
TEMPLATES = 256
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class WrongAnswer(RuntimeError):
    """An answer that is not a full one."""


@dataclass(frozen=True)
class Round:
    """What some requests took."""

    cpu_us: float
    """Of the workers, per request."""
    rate: float
    """Requests per second."""
    latency_ms: Sequence[float]
    """p50 and p99."""


def payloads(shop: Shop, candidates: int) -> list[bytes]:
    """Requests as they go over the wire."""
    return [
        _payload(
            {
                "user_id": user.user_id,
                "item_ids": shop.candidates(candidates, number),
                "request_time": shop.time_s,
                "context": {"hour": 12, "weekday": 0},
            }
        )
        for number, user in enumerate(shop.users(TEMPLATES, seed=candidates))
    ]


def call(port: int, workers: Sequence[int], requests: Sequence[bytes], count: int) -> Round:
    """Send requests and measure.

    Args:
        port: of the service.
        workers: process ids.
        requests: that take turns.
        count: how many are sent.

    Raises:
        WrongAnswer: when one is not answered in full.
    """
    with asyncio.Runner() as runner:
        return runner.run(_call(port, workers, requests, count))


async def _call(port: int, workers: Sequence[int], requests: Sequence[bytes], count: int) -> Round:
    loop = asyncio.get_running_loop()
    lines = [(await loop.create_connection(Line, "127.0.0.1", port))[1] for _ in range(AT_ONCE)]
    for line in lines:
        await _one(line, requests[0])
    numbers = deque(range(count))
    latencies: list[float] = []

    async def ask_on(line: Line) -> None:
        while numbers:
            request = requests[numbers.popleft() % len(requests)]
            sent_s = time.perf_counter()
            await _one(line, request)
            latencies.append(time.perf_counter() - sent_s)

    cpu_s, began_s = cpu(workers), time.perf_counter()
    await asyncio.gather(*(ask_on(line) for line in lines))
    seconds, cpu_s = time.perf_counter() - began_s, cpu(workers) - cpu_s
    for line in lines:
        line.close()
    percentiles = np.quantile(latencies, [0.5, 0.99]) * 1e3
    return Round(cpu_s / count * 1e6, count / seconds, percentiles.tolist())


async def _one(line: Line, request: bytes) -> None:
    ended: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
    line.ask(request, lambda status, body: ended.set_result((status, body)))
    status, body = await ended
    if status != 200 or b'"degraded":[]' not in body:
        raise WrongAnswer(f"status {status}: {body[-300:]!r}")


def cpu(pids: Sequence[int]) -> float:
    """CPU seconds of processes, user and system."""
    seconds = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return seconds


def _payload(document: object) -> bytes:
    body = orjson.dumps(document)
    head = (
        "POST /score HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
