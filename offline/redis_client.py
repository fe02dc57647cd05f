"""The Redis client: the few commands that publishing needs, bounded in time, errors in words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

COMMANDS_PER_TRIP = 500
"""Commands per pipelined round trip: far below a server's buffers, far above a trip's cost."""
TIMEOUT_S = 10.0
RETRIES = 3


class RedisFailed(RuntimeError):
    """Redis did not do what it was asked: what, where, and how to mend it."""


@dataclass(frozen=True)
class Memory:
    """The server's memory, in bytes."""

    used: int
    limit: int
    """Its ``maxmemory``; 0 = none set."""
    system: int
    """Memory of the machine it runs on."""


class RedisClient:
    """Plain commands on single keys, so that a Cluster may spread them; every wait is bounded."""

    def __init__(self, url: str) -> None:
        """Make a client; it connects with its first command.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``.

        Raises:
            RedisFailed: when the URL is no Redis URL.
        """
        try:
            self._redis: Any = redis.Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(ExponentialBackoff(cap=1, base=0.1), RETRIES),
            )
        except ValueError as error:
            raise RedisFailed(
                f"{error}; expected redis://host:port/0 or unix:///path/to/socket"
            ) from error

    @property
    def where(self) -> str:
        """The server's address, without credentials."""
        settings = self._redis.connection_pool.connection_kwargs
        return str(settings.get("path") or f"{settings.get('host')}:{settings.get('port')}")

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def get(self, key: str) -> bytes | None:
        """The value of a key, None when there is none."""
        value: bytes | None = self._trip([("GET", key)])[0]
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys, in order."""
        return [
            value for trip in _batches(keys) for value in self._trip([("GET", k) for k in trip])
        ]

    def put(self, key: str, value: bytes | str) -> None:
        """Set one key."""
        self._trip([("SET", key, value)])

    def put_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many keys."""
        for trip in _batches(pairs):
            self._trip([("SET", key, value) for key, value in trip])

    def remove(self, key: str) -> None:
        """Remove one key."""
        self._trip([("UNLINK", key)])

    def remove_many(self, keys: Sequence[bytes]) -> int:
        """Remove many keys; returns how many were there."""
        return sum(sum(self._trip([("UNLINK", key) for key in trip])) for trip in _batches(keys))

    def values(self, key: str) -> list[bytes]:
        """The values of a list, in order; empty when there is none."""
        return list(self._trip([("LRANGE", key, 0, -1)])[0])

    def fields(self, key: str) -> list[bytes]:
        """The values of a hash, in no order; empty when there is none."""
        return list(self._trip([("HVALS", key)])[0])

    def now_ms(self) -> int:
        """The server's clock, milliseconds since the epoch."""
        seconds, microseconds = self._trip([("TIME",)])[0]
        return int(seconds) * 1000 + int(microseconds) // 1000

    def replace_list(self, key: str, values: Sequence[bytes]) -> None:
        """Set a whole list in one step: nobody sees half of it, no older value stays."""
        self._trip([("DEL", key), ("RPUSH", key, *values)], atomic=True)

    def append_once(self, key: str, value: str) -> None:
        """Append to a list unless the value is there."""
        if value.encode() not in self.values(key):
            self._trip([("LREM", key, 0, value), ("RPUSH", key, value)], atomic=True)

    def remove_value(self, key: str, value: str) -> None:
        """Take a value out of a list."""
        self._trip([("LREM", key, 0, value)])

    def members(self, key: str) -> set[str]:
        """The members of a set."""
        return {member.decode() for member in self._trip([("SMEMBERS", key)])[0]}

    def add_member(self, key: str, member: str) -> None:
        """Put a member into a set."""
        self._trip([("SADD", key, member)])

    def remove_member(self, key: str, member: str) -> None:
        """Take a member out of a set."""
        self._trip([("SREM", key, member)])

    def memory(self) -> Memory:
        """How much memory the server uses and may use."""
        told = self._trip([("INFO", "memory")])[0]
        return Memory(
            used=int(told["used_memory"]),
            limit=int(told.get("maxmemory", 0)),
            system=int(told.get("total_system_memory", 0)),
        )

    def _trip(self, commands: Sequence[tuple[Any, ...]], atomic: bool = False) -> list[Any]:
        """Send commands in one round trip and return their answers.

        Raises:
            RedisFailed: when the server is away, too slow, or refuses a command.
        """
        with self._explained(f"{commands[0][0]} of {len(commands)} commands"):
            if len(commands) == 1:
                return [self._redis.execute_command(*commands[0])]
            with self._redis.pipeline(transaction=atomic) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return list(pipeline.execute())

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except redis.OutOfMemoryError as error:
            raise RedisFailed(
                f"Redis at {self.where} is full ({what}: {error}); raise its maxmemory or remove "
                "an older generation, then publish again"
            ) from error
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise RedisFailed(
                f"Redis at {self.where} does not answer ({what}: {error}); check that it runs and "
                f"that the URL is right, then publish again (waited {TIMEOUT_S:.0f} s, "
                f"{RETRIES} retries)"
            ) from error
        except redis.RedisError as error:
            raise RedisFailed(f"Redis at {self.where} refused {what}: {error}") from error


def _batches(values: Sequence[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while batch := list(islice(rest, COMMANDS_PER_TRIP)):
        yield batch
