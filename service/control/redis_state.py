"""The desired state in a Redis: changed by one script, so that document and history agree."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar, cast

import msgspec

from model.desired import DESIRED_KEY, REPLICAS_KEY, BadDesired, Desired
from service.control.state_store import (
    CALL_TIMEOUT_S,
    KEPT_REVISIONS,
    REPORT_COMES_BACK,
    UNREADABLE,
    readable,
)
from service.errors import StateUnavailable
from service.lifecycle.states import ReplicaState
from service.redis_client import REDIS_ERRORS, connect

HISTORY_KEY = f"{DESIRED_KEY}:history"
"""A list, newest first."""
LEASE_KEY = "choirrec:lease"
_CONNECTIONS = 4

# A history that cannot be written, such as a key of another type, ends it before the document.
_CHANGE = """
local present = redis.call('GET', KEYS[1])
local revision = present and assert(cjson.decode(present).revision, 'no revision') or 0
if revision ~= tonumber(ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
# Fields are "<moment of expiry in ms, by the server's clock> <report>".
_NOW_MS = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_REPORT = (
    _NOW_MS
    + """
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now_ms + ARGV[3]) .. ARGV[2])
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  local until_ms = tonumber(string.match(redis.call('HGET', KEYS[1], name), '^%d+')) or 0
  if until_ms <= now_ms then redis.call('HDEL', KEYS[1], name) end
end
"""
)
_REPLICAS = (
    _NOW_MS
    + """
local live = {}
local fields = redis.call('HGETALL', KEYS[1])
for index = 1, #fields, 2 do
  local until_ms, report = string.match(fields[index + 1], '^(%d+) (.*)$')
  if until_ms and tonumber(until_ms) > now_ms then
    table.insert(live, {fields[index], report})
  end
end
return live
"""
)
# A lease that never ends, or of another type, is none: nobody took it here.
_LEASE = """
local holder = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1])
local held = holder and redis.call('PTTL', KEYS[1]) > 0
if held and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_Answer = TypeVar("_Answer")


class RedisState:
    """A state store in one Redis; every call is one round trip."""

    def __init__(self, url: str) -> None:
        """Make the client; nothing is connected yet.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``.

        Raises:
            ValueError: when the URL is not one of a Redis.
        """
        self._redis = connect(url, _CONNECTIONS)

    async def read(self) -> Desired | None:
        """As ``StateStore.read``."""
        text = cast("bytes | None", await self._ask(self._redis.get(DESIRED_KEY), DESIRED_KEY))
        return None if text is None else _parsed(text)

    async def change(self, expected_revision: int, desired: Desired) -> bool:
        """As ``StateStore.change``."""
        keys = (DESIRED_KEY, HISTORY_KEY)
        values = (expected_revision, desired.to_json(), KEPT_REVISIONS)
        return bool(await self._run(_CHANGE, keys, values))

    async def history(self, limit: int) -> Sequence[Desired]:
        """As ``StateStore.history``."""
        asked = cast("Awaitable[list[bytes]]", self._redis.lrange(HISTORY_KEY, 0, limit - 1))
        texts = await self._ask(asked, HISTORY_KEY)
        return [entry for text in texts if (entry := readable(text)) is not None]

    async def report(self, state: ReplicaState, life_s: float) -> None:
        """As ``StateStore.report``."""
        text = msgspec.json.encode(state)
        await self._run(_REPORT, (REPLICAS_KEY,), (state.replica, text, _ms(life_s)))

    async def replicas(self) -> Sequence[ReplicaState]:
        """As ``StateStore.replicas``."""
        told = cast("list[tuple[bytes, bytes]]", await self._run(_REPLICAS, (REPLICAS_KEY,), ()))
        reports = [_report(name, text) for name, text in told]
        return sorted(reports, key=lambda report: report.replica)

    async def lease(self, holder: str, life_s: float) -> bool:
        """As ``StateStore.lease``."""
        return bool(await self._run(_LEASE, (LEASE_KEY,), (holder, _ms(life_s))))

    async def close(self) -> None:
        """As ``StateStore.close``."""
        await self._redis.aclose()

    async def _run(self, script: str, keys: Sequence[str], values: Sequence[Any]) -> object:
        asked = cast("Awaitable[object]", self._redis.eval(script, len(keys), *keys, *values))
        return await self._ask(asked, *keys)

    async def _ask(self, call: Awaitable[_Answer], *keys: str) -> _Answer:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await call
        except TimeoutError as error:
            raise StateUnavailable(
                f"the state's Redis did not answer within {CALL_TIMEOUT_S:g} s"
            ) from error
        except REDIS_ERRORS as error:
            mend = _mend(keys) if "WRONGTYPE" in str(error) else ""
            raise StateUnavailable(f"the state's Redis: {error}{mend}") from error


def _parsed(text: bytes) -> Desired:
    try:
        return Desired.from_json(text)
    except BadDesired as error:
        raise StateUnavailable(
            f"{DESIRED_KEY} in the state's Redis: {error}; delete the key, and the replicas put "
            "their copy back"
        ) from error


def _mend(keys: Sequence[str]) -> str:
    """What to do where a key holds another type, which only another program can have written."""
    which = keys[0] if len(keys) == 1 else f"whichever of {' and '.join(keys)} has another type"
    return f"; delete {which}"


def _report(name: bytes, text: bytes) -> ReplicaState:
    try:
        return msgspec.json.decode(text, type=ReplicaState)
    except UNREADABLE as error:
        replica = repr(name.decode(errors="replace"))
        raise StateUnavailable(
            f"no report of replica {replica} can be read in the state's Redis ({error}); remove it "
            f"(redis-cli hdel {REPLICAS_KEY} {replica}): {REPORT_COMES_BACK}"
        ) from error


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
