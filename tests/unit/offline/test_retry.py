"""Retries: what passes is tried again, what does not is not, and time has an end."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from offline.openai_client import CallFailed
from offline.retry import RetryPolicy, retried

QUICK = RetryPolicy(attempts=4, first_wait_s=0.001, longest_wait_s=0.002, deadline_s=5.0)
PASSING = CallFailed("server_error", "on order", retriable=True)
LASTING = CallFailed("refused", "on order")


def outcome(steps: Sequence[CallFailed | str], policy: RetryPolicy = QUICK) -> tuple[str, int]:
    """What comes of a call that goes through the steps, and how many attempts it took."""
    attempts: list[int] = []

    async def call(number: int) -> str:
        attempts.append(number)
        step = steps[number - 1]
        if isinstance(step, CallFailed):
            raise step
        return step

    try:
        result = asyncio.run(retried(call, policy))
    except CallFailed as failure:
        result = failure.outcome
    assert attempts == list(range(1, len(attempts) + 1))
    return result, len(attempts)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["done"], ("done", 1)),
        ([PASSING, PASSING, "done"], ("done", 3)),
        ([PASSING] * 9, ("server_error", 4)),
        ([PASSING, LASTING, "done"], ("refused", 2)),
    ],
)
def test_only_what_may_pass_is_tried_again(
    steps: Sequence[CallFailed | str], expected: tuple[str, int]
) -> None:
    """A passing failure costs an attempt, a lasting one ends it, and attempts are bounded."""
    assert outcome(steps) == expected


def test_the_deadline_holds_within_an_attempt() -> None:
    """A call that never returns is given up when time is over."""

    async def hang(_: int) -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(CallFailed, match=r"no answer within 0\.05 s") as failure:
        asyncio.run(retried(hang, RetryPolicy(deadline_s=0.05)))
    assert failure.value.outcome == "deadline"


def test_waits_double_up_to_a_bound_and_are_drawn_whole() -> None:
    """The longest wait doubles and ends somewhere; the wait itself is anything from nothing on."""
    drawn: list[tuple[float, float]] = []

    def draw(least: float, most: float) -> float:
        drawn.append((least, most))
        return 0.0

    async def fail(_: int) -> str:
        raise PASSING

    policy = RetryPolicy(attempts=5, first_wait_s=1.0, longest_wait_s=3.0)
    began = time.monotonic()
    with pytest.raises(CallFailed):
        asyncio.run(retried(fail, policy, draw))
    assert drawn == [(0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (0.0, 3.0)]
    assert time.monotonic() - began < 1.0


def test_the_endpoints_wish_comes_first() -> None:
    """The jitter is added to what the endpoint asked for, never taken from it."""
    asked = CallFailed("rate_limited", "later", retriable=True, retry_after_s=0.2)
    began = time.monotonic()
    assert outcome([asked, "done"]) == ("done", 2)
    assert time.monotonic() - began >= 0.2
