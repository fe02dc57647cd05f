"""The fixtures of the live service."""

from tests.fixtures.plugin import home, live, redis_server, world

__all__ = ["home", "live", "redis_server", "world"]
