"""Retries: waits with full jitter between attempts, within one deadline."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from offline.openai_client import CallFailed

T = TypeVar("T")
_RANDOM = random.SystemRandom()


@dataclass(frozen=True)
class RetryPolicy:
    """How often and for how long one request is tried."""

    attempts: int = 6
    """At most, the first one counted."""
    first_wait_s: float = 0.5
    """Longest wait after the first failure; it doubles with each further one."""
    longest_wait_s: float = 30.0
    """Where doubling ends."""
    deadline_s: float = 300.0
    """For all attempts and waits together."""


async def retried(
    call: Callable[[int], Awaitable[T]],
    policy: RetryPolicy,
    draw: Callable[[float, float], float] = _RANDOM.uniform,
) -> T:
    """Call until it succeeds, fails for good, or time is over.

    Args:
        call: one attempt, told its number from 1.
        policy: how often and for how long.
        draw: a number between two, for the jitter.

    Returns:
        What ``call`` returned.

    Raises:
        CallFailed: the last failure; "deadline" when time was over first.
    """
    try:
        async with asyncio.timeout(policy.deadline_s):
            return await _attempts(call, policy, draw)
    except TimeoutError as error:
        raise CallFailed("deadline", f"no answer within {policy.deadline_s} s") from error


async def _attempts(
    call: Callable[[int], Awaitable[T]],
    policy: RetryPolicy,
    draw: Callable[[float, float], float],
) -> T:
    attempt = 1
    while True:
        try:
            return await call(attempt)
        except CallFailed as failure:
            if not failure.retriable or attempt == policy.attempts:
                raise
            longest_s = min(policy.longest_wait_s, policy.first_wait_s * 2 ** (attempt - 1))
            # Full jitter on top of what the endpoint asked for: it asks everybody for the same.
            wait_s = failure.retry_after_s + draw(0.0, longest_s)
        await asyncio.sleep(wait_s)
        attempt += 1
