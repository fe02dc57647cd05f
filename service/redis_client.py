"""The Redis client: bounded connections, short timeouts, no retries, for whoever asks a Redis."""

import ssl
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
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


@dataclass(frozen=True)
class Server:
    """Where a URL leads, and as whom."""

    host: str
    port: int
    path: str | None
    """Of a unix socket, instead of host and port."""
    tls: ssl.SSLContext | None
    username: str | None
    password: str | None
    database: int


def read_url(url: str) -> Server:
    """Read a URL as the library does, options of TLS included.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.

    Raises:
        ValueError: when it is not one of these.
    """
    parts: dict[str, Any] = dict(parse_url(url))
    secure = parts.pop("connection_class", None) is SSLConnection
    return Server(
        host=parts.get("host", "localhost"),
        port=parts.get("port", 6379),
        path=parts.get("path"),
        tls=SSLConnection(**parts).ssl_context.get() if secure else None,
        username=parts.get("username"),
        password=parts.get("password"),
        database=int(parts.get("db", 0)),
    )
