"""Use: which generations something serves now, and what; none of them may be removed."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model.desired import DESIRED_KEY, REPLICAS_KEY, BadDesired, Desired
from offline.redis_client import RedisClient

ROLES = ("champion", "canary", "shadow", "candidate", "previous")
URLS = ("redis://", "rediss://", "unix://")


class UnknownUse(RuntimeError):
    """What is in use cannot be told, so nothing may be removed: why, and how to mend it."""


def generations_in_use(state: str) -> Mapping[str, str]:
    """Every generation that the desired state names or that a live replica holds.

    Args:
        state: where the desired state stands, as the service's ``CHOIRREC_STATE``: a Redis URL or
            a folder.

    Returns:
        By generation, what uses it, in words. Empty where nothing is served.

    Raises:
        UnknownUse: when the desired state or a report cannot be read.
        RedisFailed: when Redis fails.
    """
    document, reports = _of_redis(state) if state.startswith(URLS) else _of_folder(Path(state))
    used: dict[str, list[str]] = {}
    for generation, use in (*_named(document), *(pair for r in reports for pair in _held(r))):
        if use not in used.setdefault(generation, []):
            used[generation].append(use)
    return {generation: ", ".join(uses) for generation, uses in used.items()}


def _of_redis(url: str) -> tuple[bytes | None, list[bytes]]:
    redis = RedisClient(url)
    try:
        now_ms = redis.now_ms()
        told = [value.split(b" ", 1) for value in redis.fields(REPLICAS_KEY)]
        live = [parts[1] for parts in told if len(parts) == 2 and int(parts[0]) > now_ms]
        return redis.get(DESIRED_KEY), live
    except ValueError as error:
        raise UnknownUse(f"{REPLICAS_KEY} in Redis at {redis.where}: {error}") from error
    finally:
        redis.close()


def _of_folder(folder: Path) -> tuple[bytes | None, list[bytes]]:
    """As the service keeps it, where replicas share a disk."""
    try:
        place = folder / "desired.json"
        document = place.read_bytes() if place.exists() else None
        reports = [_json(path.read_bytes()) for path in sorted(folder.glob("replicas/*.json"))]
    except OSError as error:
        raise UnknownUse(f"the desired state in {folder}: {error}; nothing was removed") from error
    live = [told["report"] for told in reports if told["until_s"] > time.time()]
    return document, [json.dumps(report).encode() for report in live]


def _named(document: bytes | None) -> Iterator[tuple[str, str]]:
    if document is None:
        return
    try:
        desired = Desired.from_json(document)
    except BadDesired as error:
        raise UnknownUse(f"the desired state: {error}; nothing was removed") from error
    for role in ROLES:
        held: Any = getattr(desired, role)
        if held is not None:
            target = getattr(held, "target", held)
            yield target.generation, f"{role} of revision {desired.revision}"


def _held(report: bytes) -> Iterator[tuple[str, str]]:
    told = _json(report)
    try:
        for worker in told["workers"]:
            for target in worker["targets"]:
                if target["state"] != "failed":
                    yield str(target["generation"]), f"held by replica {told['replica']}"
    except (KeyError, TypeError) as error:
        raise UnknownUse(
            f"a replica's report cannot be read ({type(error).__name__}: {error}); do the service "
            "and this command come from one release? Nothing was removed"
        ) from error


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnknownUse(f"a replica's report is no JSON ({error}); nothing was removed") from error
