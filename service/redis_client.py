"""The Redis client: bounded connections, short timeouts, no retries, for whoever asks a Redis."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

SOCKET_TIMEOUT_S = 2.0
"""A backstop below which every call's own deadline lies; the library's defaults never apply."""
REDIS_ERRORS = (RedisError, OSError)
"""What a call may raise."""


def connect(url: str, connections: int) -> Redis:
    """A client; nothing is connected yet.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        connections: connections at most; calls beyond that wait.

    Raises:
        ValueError: when the URL is not one of a Redis.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=SOCKET_TIMEOUT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        protocol=2,
    )
    return Redis.from_pool(pool)
