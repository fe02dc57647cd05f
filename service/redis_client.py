"""The Redis client: bounded connections, short timeouts, no retries, for whoever asks a Redis."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

SOCKET_TIMEOUT_S = 2.0
"""A backstop below which every call's own deadline lies; the library's defaults never apply."""
REDIS_ERRORS = (RedisError, OSError)
"""What a call may raise."""
_PLAIN = ("db", "username", "password")
_TLS = tuple(name for name in signature(SSLConnection).parameters if name.startswith("ssl_"))
_SECRET = ("password", "ssl_password")


def connect(url: str, connections: int) -> Redis:
    """A client; nothing is connected yet.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        connections: connections at most; calls beyond that wait.

    Raises:
        ValueError: as ``read_url``.
    """
    # The library would look at the options with the first call, and let them overrule these here.
    read_url(url)
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
        ValueError: when it is not one of these, or has an option that is wrong or not taken.
    """
    options = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    _check_names(options)
    try:
        parts: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        raise ValueError(f"{_told(options)}{error}") from error
    secure = parts.pop("connection_class", None) is SSLConnection
    given = {name: parts[name] for name in _TLS if name in parts}
    if given and not secure:
        raise ValueError(f"{_named(given)} needs rediss://, which is what asks by TLS")
    return Server(
        host=parts.get("host", "localhost"),
        port=parts.get("port", 6379),
        path=parts.get("path"),
        tls=_context(given, options) if secure else None,
        username=parts.get("username"),
        password=parts.get("password"),
        database=int(parts.get("db", 0)),
    )


def _check_names(options: Mapping[str, str]) -> None:
    strange = [name for name in options if name not in (*_PLAIN, *_TLS)]
    if strange:
        raise ValueError(
            f"{_named(strange)} cannot stand in a Redis URL here, for the service sets "
            f"connections, timeouts and protocol itself; remove it; taken are {', '.join(_PLAIN)} "
            "and, with rediss://, ssl_cert_reqs, ssl_ca_certs and the other options of TLS"
        )


def _context(given: Mapping[str, Any], options: Mapping[str, str]) -> ssl.SSLContext:
    try:
        return SSLConnection(**given).ssl_context.get()
    except (RedisError, OSError, TypeError, ValueError) as error:
        tls = {name: options[name] for name in given}
        raise ValueError(f"{_told(tls)}{error}") from error


def _named(names: Iterable[str]) -> str:
    quoted = [repr(name) for name in names]
    return f"option{'s' if len(quoted) > 1 else ''} {', '.join(quoted)}"


def _told(options: Mapping[str, str]) -> str:
    """Options with their values, but for passwords, before what is wrong with one of them."""
    told = [name if name in _SECRET else f"{name}={value!r}" for name, value in options.items()]
    return f"{', '.join(told)}: " if told else ""
