"""Removal: generations away by their own lists of keys, but none that something uses."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from secrets import token_hex
from types import MappingProxyType

from model.generation import (
    BEGUN_GENERATIONS,
    COMPLETE_GENERATIONS,
    Generation,
    check_name,
    id_list_key,
    meta_key,
    publisher_key,
)
from offline.redis_client import RedisClient

NOTHING: Mapping[str, str] = MappingProxyType({})
"""No generation is in use."""


class PublishError(RuntimeError):
    """A publish or removal that did not happen: what failed and how to mend it."""


class GenerationInUse(PublishError):
    """A generation that the desired state names or a replica holds must not be removed."""


def complete_generations(redis: RedisClient) -> tuple[Generation, ...]:
    """Complete generations, oldest first.

    Raises:
        RedisFailed: when Redis fails.
    """
    names = [name.decode() for name in redis.values(COMPLETE_GENERATIONS)]
    found = [read_meta(redis, name) for name in names]
    return tuple(meta for meta in found if meta and meta.complete)


def incomplete_generations(redis: RedisClient) -> tuple[str, ...]:
    """Generations that a publish or a removal began and has not finished: abandoned, or running.

    Raises:
        RedisFailed: when Redis fails.
    """
    complete = {meta.name for meta in complete_generations(redis)}
    return tuple(sorted(redis.members(BEGUN_GENERATIONS) - complete))


def remove(redis: RedisClient, name: str, in_use: Mapping[str, str] = NOTHING) -> int:
    """Remove a generation, complete or not, by its own id list.

    Args:
        redis: the server.
        name: the generation; one that does not exist is no error.
        in_use: generations that something uses, and what does.

    Returns:
        Records removed.

    Raises:
        GenerationInUse: when the generation is in use.
        RedisFailed: when Redis fails; what is left is listed as incomplete, and removing it again
            goes on.
    """
    if check_name(name) in in_use:
        raise GenerationInUse(
            f"generation {name} is in use ({in_use[name]}); promote another one, wait until no "
            "replica holds it, then remove it; nothing was removed"
        )
    claim = Claim(redis, name)
    removed = clear(claim)
    redis.remove(publisher_key(name))
    redis.remove_member(BEGUN_GENERATIONS, name)
    return removed


class Claim:
    """The right to write a generation, held until another publish or removal claims it."""

    def __init__(self, redis: RedisClient, name: str) -> None:
        """Claim it.

        Args:
            redis: the server.
            name: the generation.
        """
        self.redis, self.name = redis, check_name(name)
        self._token = token_hex(8).encode()
        redis.add_member(BEGUN_GENERATIONS, name)
        redis.put(publisher_key(name), self._token)

    def check(self) -> None:
        """Go on only while nobody else claims it.

        Raises:
            PublishError: when somebody does.
        """
        if self.redis.get(publisher_key(self.name)) != self._token:
            raise PublishError(
                f"generation {self.name}: another publish or removal took it over; this one stops"
            )


def read_meta(redis: RedisClient, name: str) -> Generation | None:
    """What a generation says of itself; None where it says nothing that can be read."""
    text = redis.get(meta_key(name))
    try:
        return Generation.from_json(text) if text is not None else None
    except ValueError:
        return None


def clear(claim: Claim) -> int:
    """Remove a generation's keys, what announces it first and its id lists with their records.

    Args:
        claim: on the generation.

    Returns:
        Records removed.
    """
    redis, name = claim.redis, claim.name
    redis.remove_value(COMPLETE_GENERATIONS, name)
    meta = read_meta(redis, name)
    if meta and meta.complete:
        redis.put(meta_key(name), replace(meta, complete=False).to_json())
    chunk = removed = 0
    while (keys := redis.values(id_list_key(name, chunk))) or (meta and chunk < meta.id_chunks):
        claim.check()
        removed += redis.remove_many(keys)
        redis.remove(id_list_key(name, chunk))
        chunk += 1
    redis.remove(meta_key(name))
    return removed


def retain(
    redis: RedisClient, keep: int, published: str, in_use: Callable[[], Mapping[str, str]]
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Remove what is older than the newest ``keep``; what something uses stays, and is told.

    Args:
        redis: the server.
        keep: newest complete generations that stay.
        published: one that stays in any case.
        in_use: asked before each removal: generations that something uses, and what does.

    Returns:
        The names of those removed; those kept because they are in use, and what uses them.
    """
    names = [meta.name for meta in complete_generations(redis)]
    old = [name for name in names[:-keep] if name != published]
    removed, kept = [], {}
    for name in old:
        # Asked anew for each: a removal takes long enough for somebody to promote the next.
        used = in_use()
        if name in used:
            kept[name] = used[name]
        else:
            remove(redis, name)
            removed.append(name)
    return tuple(removed), kept
