"""Publishing: a whole generation of records to Redis, verified, then marked complete.

The order of writes makes it safe to kill at any moment: the name among the begun generations, an
incomplete meta document, chunk by chunk first the list of keys and then the records, then
everything read back, and only then a complete meta document. What a killed publish leaves is
found and removed by its own lists, and is never taken for a generation.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain, islice

from model.generation import (
    COMPLETE_GENERATIONS,
    Generation,
    group_key,
    id_list_key,
    meta_key,
    new_item_key,
    publisher_key,
    user_key,
)
from model.records import AnyRecord, GroupRecord, ItemRecord, UserRecord, encode_record
from offline.forecast import Sample, forecast_bytes
from offline.progress import track
from offline.redis_client import RedisClient
from offline.removal import Claim, PublishError, clear, read_meta, remove, retain

Pair = tuple[bytes, bytes]
"""A key and the record stored under it."""

RECORDS_PER_CHUNK = 5_000
"""Records per chunk of the id list: one list of keys, one digest when verifying."""
SAMPLE_RECORDS = 2_000
"""Records of each kind that the size forecast encodes."""
SYSTEM_SHARE = 0.8
"""Share of the server's system memory that may be filled where no maxmemory is set."""
KINDS: tuple[type[AnyRecord], ...] = (UserRecord, GroupRecord, ItemRecord)


class WillNotFit(PublishError):
    """The generation is larger than the memory left; nothing was written."""


@dataclass(frozen=True)
class Published:
    """What a publish did."""

    generation: Generation
    records: int
    """Records written; 0 when the generation already stood complete."""
    seconds: float
    forecast_bytes: int
    """Server memory expected beforehand; 0 when the generation already stood complete."""
    removed: tuple[str, ...]
    """Older generations that retention removed."""
    kept: Mapping[str, str]
    """Older generations that it left because something uses them, and what does."""


def publish(
    redis: RedisClient,
    meta: Generation,
    users: Iterable[UserRecord],
    groups: Iterable[GroupRecord],
    items: Iterable[ItemRecord] = (),
    keep: int = 2,
    in_use: Callable[[], Mapping[str, str]] = dict,
) -> Published:
    """Write a generation, read it back, mark it complete, and remove generations beyond ``keep``.

    A generation of that name which stands incomplete is replaced; one that stands complete is
    left as it is. While it runs, ``keep`` + 1 generations take memory.

    Args:
        redis: the server.
        meta: name, feature contract, moments and the number of records of each kind;
            ``id_chunks`` and ``complete`` are set here.
        users: ``meta.users`` records, each user once.
        groups: ``meta.groups`` records, the global prior among them.
        items: ``meta.items`` records.
        keep: newest complete generations that stay, this one included; at least 1.
        in_use: asked right before anything is removed: generations that stay whatever their age,
            and what uses them.

    Returns:
        What was done.

    Raises:
        WillNotFit: before anything is written.
        PublishError: when the records are not as many as announced, or when what is read back is
            not what was written. The generation then stays incomplete.
        RedisFailed: when Redis fails; the generation stays incomplete.
    """
    started = time.monotonic()
    if keep < 1:
        raise PublishError(f"keep {keep}: expected at least 1, the generation being published")
    written, forecast = 0, 0
    kinds = (users, groups, items)
    if standing := _standing(redis, meta):
        _check_same_records(redis, meta.name, kinds)
    else:
        remove(redis, meta.name)
        records, samples = _sampled(meta, kinds)
        forecast = _check_room(redis, meta.name, samples)
        standing = _write_generation(Claim(redis, meta.name), meta, records)
        written = meta.users + meta.groups + meta.items
    redis.append_once(COMPLETE_GENERATIONS, meta.name)
    redis.remove(publisher_key(meta.name))
    removed, kept = retain(redis, keep, meta.name, in_use)
    return Published(standing, written, time.monotonic() - started, forecast, removed, kept)


def record_key(generation: str, record: AnyRecord) -> str:
    """Key of a record in a generation."""
    match record:
        case UserRecord():
            return user_key(generation, record.user_id)
        case GroupRecord():
            return group_key(generation, record.prefix)
        case ItemRecord():
            return new_item_key(generation, record.item_id)


def _standing(redis: RedisClient, meta: Generation) -> Generation | None:
    """The complete generation of that name, or None; one that differs is an error."""
    standing = read_meta(redis, meta.name)
    if standing is None or not standing.complete:
        return None
    same = replace(
        meta, id_chunks=standing.id_chunks, complete=True, written_at_s=standing.written_at_s
    )
    if standing != same:
        raise PublishError(
            f"generation {meta.name} stands complete and differs: it says {standing.to_json()}; "
            "publish under another name, or remove it first"
        )
    return standing


def _check_same_records(
    redis: RedisClient, name: str, kinds: Sequence[Iterable[AnyRecord]]
) -> None:
    """Compare the first records of each kind: a name must not hide that they changed."""
    for records in kinds:
        pairs = [_pair(name, record) for record in islice(records, SAMPLE_RECORDS)]
        found = redis.get_many([key for key, _ in pairs])
        for (key, blob), stored in zip(pairs, found, strict=True):
            if blob != stored:
                raise PublishError(
                    f"generation {name} stands complete and differs, in {key.decode()} first; "
                    "publish under another name, or remove it first"
                )


def _sampled(
    meta: Generation, kinds: Sequence[Iterable[AnyRecord]]
) -> tuple[Iterator[AnyRecord], list[Sample]]:
    """Encode the first records of each kind, and give all records back as one stream."""
    streams, samples = [], []
    for records, count in zip(kinds, (meta.users, meta.groups, meta.items), strict=True):
        rest = iter(records)
        first = list(islice(rest, SAMPLE_RECORDS))
        sizes = [tuple(map(len, _pair(meta.name, record))) for record in first]
        samples.append(Sample(count, [size[0] for size in sizes], [size[1] for size in sizes]))
        streams.append(chain(first, rest))
    return chain.from_iterable(streams), samples


def _check_room(redis: RedisClient, name: str, samples: Sequence[Sample]) -> int:
    needed, memory = forecast_bytes(samples), redis.memory()
    room = (memory.limit or int(memory.system * SYSTEM_SHARE)) - memory.used
    if needed > room:
        bound = "maxmemory" if memory.limit else f"{SYSTEM_SHARE:.0%} of the machine's memory"
        raise WillNotFit(
            f"generation {name} needs about {needed / 2**20:.1f} MiB, Redis at {redis.where} has "
            f"{max(room, 0) / 2**20:.1f} MiB left below {bound}; nothing was written: remove an "
            "older generation or give Redis more memory"
        )
    return needed


def _write_generation(claim: Claim, meta: Generation, records: Iterator[AnyRecord]) -> Generation:
    clear(claim)
    total = meta.users + meta.groups + meta.items
    unfinished = replace(meta, id_chunks=-(-total // RECORDS_PER_CHUNK), complete=False)
    claim.redis.put(meta_key(meta.name), unfinished.to_json())
    counts: Counter[type[AnyRecord]] = Counter()
    stream = _counted(track(records, f"publish {meta.name}", total), counts)
    digests: list[bytes] = []
    while chunk := [_pair(meta.name, record) for record in islice(stream, RECORDS_PER_CHUNK)]:
        _write_chunk(claim, len(digests), chunk)
        digests.append(_digest(chunk))
    _check_counts(meta, counts)
    _check_global_prior(claim)
    for number, digest in track(enumerate(digests), f"verify {meta.name}", len(digests)):
        _verify_chunk(claim, number, digest)
    complete = replace(unfinished, complete=True)
    claim.check()
    claim.redis.put(meta_key(meta.name), complete.to_json())
    return complete


def _counted(records: Iterable[AnyRecord], counts: Counter[type[AnyRecord]]) -> Iterator[AnyRecord]:
    for record in records:
        counts[type(record)] += 1
        yield record


def _check_counts(meta: Generation, counts: Counter[type[AnyRecord]]) -> None:
    announced = (meta.users, meta.groups, meta.items)
    found = tuple(counts[kind] for kind in KINDS)
    if announced != found:
        raise PublishError(
            f"generation {meta.name}: {found} records (users, groups, items) came, {announced} "
            "were announced; it stays incomplete, run the stage that makes them again"
        )


def _check_global_prior(claim: Claim) -> None:
    if claim.redis.get(group_key(claim.name, ())) is None:
        raise PublishError(
            f"generation {claim.name} holds no global prior (the group record of the empty "
            "prefix), the last step of every fallback; run the priors stage again"
        )


def _write_chunk(claim: Claim, number: int, chunk: Sequence[Pair]) -> None:
    """The chunk's keys first: whatever is killed later can be removed by them."""
    claim.check()
    claim.redis.replace_list(id_list_key(claim.name, number), [key for key, _ in chunk])
    claim.redis.put_many(chunk)


def _verify_chunk(claim: Claim, number: int, digest: bytes) -> None:
    keys = claim.redis.values(id_list_key(claim.name, number))
    blobs = claim.redis.get_many(keys)
    missing = [key.decode() for key, blob in zip(keys, blobs, strict=True) if blob is None]
    if missing:
        raise PublishError(
            f"generation {claim.name}: {len(missing)} records are gone, {missing[0]} first; is "
            "Redis evicting keys (maxmemory-policy)? Give it more memory and publish again"
        )
    pairs = [(key, blob) for key, blob in zip(keys, blobs, strict=True) if blob is not None]
    if _digest(pairs) != digest:
        twice = [key.decode() for key, times in Counter(keys).items() if times > 1]
        reason = f"{twice[0]} came twice" if twice else "or one record came twice"
        raise PublishError(
            f"generation {claim.name}, chunk {number}: what is read back is not what was written; "
            f"somebody else writes there, {reason}; publish again under another name"
        )


def _pair(generation: str, record: AnyRecord) -> Pair:
    return record_key(generation, record).encode(), encode_record(record)


def _digest(pairs: Iterable[Pair]) -> bytes:
    digest = blake2b(digest_size=16)
    for key, blob in pairs:
        digest.update(b"%d %d " % (len(key), len(blob)))
        digest.update(key)
        digest.update(blob)
    return digest.digest()
