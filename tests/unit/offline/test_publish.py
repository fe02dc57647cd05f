"""Publishing on a real Redis."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from model.generation import (
    COMPLETE_GENERATIONS,
    Generation,
    group_key,
    id_list_key,
    meta_key,
    user_key,
)
from model.records import UserRecord, decode_group, decode_item, decode_user
from offline import publish as publishing
from offline.embedded_redis import EmbeddedRedis, embedded_redis
from offline.publish import WillNotFit, publish
from offline.redis_client import RedisClient, RedisFailed
from offline.removal import (
    GenerationInUse,
    PublishError,
    complete_generations,
    incomplete_generations,
    remove,
)
from tests.records import WRITTEN_AT_S, group_record, item_record, user_record

USERS = [user_record(number) for number in range(40)]
GROUPS = [group_record(prefix) for prefix in ((), (0,), (1,), (0, 1))]
ITEMS = [item_record("new-1")]
ROOT = Path(__file__).parents[3]


class Killed(BaseException):
    """What a simulated kill raises."""


class DyingClient(RedisClient):
    """A client whose process dies before its nth round trip."""

    def __init__(self, url: str, trips: int) -> None:
        super().__init__(url)
        self.left = trips

    def _trip(self, commands: Any, atomic: bool = False) -> list[Any]:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return super()._trip(commands, atomic)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One real Redis for the module."""
    with embedded_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def raw(server: EmbeddedRedis) -> Iterator[Any]:
    """A plain client of the emptied server, to look at it from outside."""
    client = redis.Redis.from_url(server.url)
    client.flushall()
    client.config_set("maxmemory", 0)
    yield client
    client.close()


@pytest.fixture
def client(server: EmbeddedRedis, raw: Any) -> Iterator[RedisClient]:
    """The client under test."""
    client = RedisClient(server.url)
    yield client
    client.close()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 10 records, so that small generations have several."""
    monkeypatch.setattr(publishing, "RECORDS_PER_CHUNK", 10)


def meta(name: str, users: int = len(USERS), contract: str = "c" * 64) -> Generation:
    """The meta document of a generation to publish."""
    return Generation(
        name=name,
        feature_contract=contract,
        as_of_s=WRITTEN_AT_S,
        written_at_s=WRITTEN_AT_S,
        users=users,
        groups=len(GROUPS),
        items=len(ITEMS),
        id_chunks=0,
        complete=False,
    )


def publish_all(client: RedisClient, name: str, **options: Any) -> publishing.Published:
    """Publish the usual records under a name."""
    return publish(client, meta(name), USERS, GROUPS, ITEMS, **options)


def keys(raw: Any) -> set[str]:
    """Every key of the server."""
    return {key.decode() for key in raw.execute_command("KEYS", "*")}


def assert_whole(raw: Any, name: str) -> None:
    """A generation that calls itself complete holds every record, intact."""
    for user in USERS:
        assert decode_user(raw.get(user_key(name, user.user_id)), user.user_id).purchases == 3
    for group in GROUPS:
        assert decode_group(raw.get(group_key(name, group.prefix)), group.prefix).size >= 100
    assert decode_item(raw.get(f"choirrec:{name}:i:new-1"), "new-1").codes.tolist() == [2, 3, 2]


def test_published_records_are_read_back_as_they_were(client: RedisClient, raw: Any) -> None:
    """A published generation is complete, listed once, and every record is where readers look."""
    done = publish_all(client, "2024-01-01")
    assert done.records == 45
    assert done.generation.complete
    assert_whole(raw, "2024-01-01")
    assert [found.name for found in complete_generations(client)] == ["2024-01-01"]
    assert incomplete_generations(client) == ()


def test_publishing_again_changes_nothing(client: RedisClient, raw: Any) -> None:
    """Publishing a complete generation again is done at once and lists it no second time."""
    publish_all(client, "g1")
    before = {key: raw.dump(key) for key in keys(raw)}
    assert publish_all(client, "g1").records == 0
    assert {key: raw.dump(key) for key in keys(raw)} == before


def test_a_complete_generation_is_never_overwritten(client: RedisClient, raw: Any) -> None:
    """Another content under the name of a complete generation is refused; nothing changes."""
    publish_all(client, "g1")
    before = {key: raw.dump(key) for key in keys(raw)}
    with pytest.raises(PublishError, match="g1 stands complete and differs"):
        publish(client, meta("g1", contract="d" * 64), USERS, GROUPS, ITEMS)
    assert {key: raw.dump(key) for key in keys(raw)} == before


def test_changed_records_under_an_old_name_are_noticed(client: RedisClient, raw: Any) -> None:
    """Other records under the name of a complete generation are refused, not passed over."""
    publish_all(client, "g1")
    changed = [*USERS[:7], replace(USERS[7], purchases=99), *USERS[8:]]
    with pytest.raises(PublishError, match=r"differs, in choirrec:g1:u:u7 first"):
        publish(client, meta("g1"), changed, GROUPS, ITEMS)
    assert_whole(raw, "g1")


@pytest.mark.usefixtures("small_chunks")
def test_killed_anywhere_it_is_never_complete_with_holes(
    client: RedisClient, server: EmbeddedRedis, raw: Any
) -> None:
    """Killed before any round trip: never complete with holes; the next publish mends it."""
    publish_all(client, "g1")
    undisturbed = {key: raw.dump(key) for key in keys(raw)}
    remove(client, "g1")
    assert keys(raw) == set()
    trips = 0
    while True:
        raw.flushall()
        dying = DyingClient(server.url, trips)
        try:
            publish_all(dying, "g1")
            break
        except Killed:
            trips += 1
        finally:
            dying.close()
        if [found.name for found in complete_generations(client)]:
            assert_whole(raw, "g1")
        publish_all(client, "g1")
        assert {key: raw.dump(key) for key in keys(raw)} == undisturbed
    assert trips > 20


@pytest.mark.usefixtures("small_chunks")
def test_what_a_killed_publish_left_can_be_removed(
    client: RedisClient, server: EmbeddedRedis, raw: Any
) -> None:
    """Removing what a killed publish left leaves no key, even after a killed removal."""
    for trips in range(0, 40, 3):
        for cut in (1, 4, 9):
            dying, removing = DyingClient(server.url, trips), DyingClient(server.url, cut)
            with pytest.raises(Killed):
                publish_all(dying, "g1")
            assert incomplete_generations(client) == ("g1",) or keys(raw) == set()
            with suppress(Killed):
                remove(removing, "g1")
            remove(client, "g1")
            assert keys(raw) == set()
            dying.close()
            removing.close()


KILLED = """
import os, signal, sys
from offline import publish as publishing
from offline.redis_client import RedisClient
from tests.unit.offline.test_publish import GROUPS, ITEMS, USERS, meta
publishing.RECORDS_PER_CHUNK = 10

def users(stop):
    for number, user in enumerate(USERS):
        if number == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        yield user

publishing.SAMPLE_RECORDS = 1
publishing.publish(RedisClient(sys.argv[1]), meta("g1"), users(int(sys.argv[2])), GROUPS, ITEMS)
"""


@pytest.mark.parametrize("stop", [0, 15, 39])
@pytest.mark.usefixtures("small_chunks")
def test_kill_9_leaves_an_incomplete_generation(
    client: RedisClient, server: EmbeddedRedis, raw: Any, stop: int
) -> None:
    """A publisher killed by SIGKILL leaves nothing that serves; publishing again mends it."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED), server.url, str(stop)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", "proto"])}
    killed = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert complete_generations(client) == ()
    publish_all(client, "g1")
    assert_whole(raw, "g1")


def test_the_last_generations_stay(client: RedisClient, raw: Any) -> None:
    """Retention keeps the newest ones and whatever is in use, and removes the rest entirely."""
    for name in ("g1", "g2", "g3"):
        done = publish_all(client, name, in_use=lambda: {"g1": "champion"})
    assert [found.name for found in complete_generations(client)] == ["g1", "g2", "g3"]
    assert done.kept == {"g1": "champion"}
    done = publish_all(client, "g4")
    assert (done.removed, done.kept) == (("g1", "g2"), {})
    assert not {key for key in keys(raw) if ":g1:" in key or ":g2:" in key}
    assert_whole(raw, "g3")
    assert_whole(raw, "g4")


def test_removal_never_looks_through_all_keys(client: RedisClient, raw: Any) -> None:
    """A removal uses the generation's own list: no KEYS and no SCAN reaches the server."""
    publish_all(client, "g1")
    raw.config_resetstat()
    assert remove(client, "g1") == 45
    used = raw.info("commandstats")
    assert "cmdstat_unlink" in used
    assert not {"cmdstat_keys", "cmdstat_scan", "cmdstat_del"} & set(used)


def test_a_generation_in_use_is_not_removed(client: RedisClient, raw: Any) -> None:
    """Removing a generation that is named somewhere is refused."""
    publish_all(client, "g1")
    with pytest.raises(GenerationInUse, match=r"g1 is in use \(canary of revision 3\); promote"):
        remove(client, "g1", {"g1": "canary of revision 3"})
    assert_whole(raw, "g1")


def test_what_becomes_in_use_meanwhile_stays(client: RedisClient, raw: Any) -> None:
    """What is in use is asked before each removal, not once: a promotion may come between."""
    for name in ("g1", "g2", "g3"):
        publish_all(client, name, keep=9)
    asked: list[int] = []

    def in_use() -> dict[str, str]:
        asked.append(1)
        return {"g2": "candidate"} if len(asked) > 1 else {}

    done = publish_all(client, "g4", keep=1, in_use=in_use)
    assert (done.removed, done.kept) == (("g1", "g3"), {"g2": "candidate"})
    assert_whole(raw, "g2")


def test_one_that_does_not_fit_is_refused_before_writing(client: RedisClient, raw: Any) -> None:
    """Too little memory is said beforehand, with both sizes, and no key is written."""
    raw.config_set("maxmemory", raw.info("memory")["used_memory"] + 200_000)
    with pytest.raises(WillNotFit, match=r"needs about \d.*nothing was written"):
        publish_all(client, "g1")
    assert keys(raw) == set()


def test_the_size_forecast_is_close_and_safe(client: RedisClient, raw: Any) -> None:
    """The forecast covers what the server really takes, by at most two fifths more."""
    users = [user_record(number, purchases=number % 60) for number in range(12_000)]
    before = raw.info("memory")["used_memory"]
    done = publish(client, meta("g1", users=len(users)), users, GROUPS, ITEMS)
    taken = raw.info("memory")["used_memory"] - before
    assert taken <= done.forecast_bytes <= 1.4 * taken + 2**20


@pytest.mark.parametrize("announced", [39, 41])
def test_announced_and_actual_counts_must_agree(
    client: RedisClient, raw: Any, announced: int
) -> None:
    """Records that went missing on the way are noticed: the generation stays incomplete."""
    with pytest.raises(PublishError, match="were announced"):
        publish(client, meta("g1", users=announced), USERS, GROUPS, ITEMS)
    assert complete_generations(client) == ()
    assert incomplete_generations(client) == ("g1",)


def test_a_generation_without_a_global_prior_is_refused(client: RedisClient) -> None:
    """The last step of every fallback must be there before a generation is complete."""
    announced = replace(meta("g1"), groups=1)
    with pytest.raises(PublishError, match="global prior"):
        publish(client, announced, USERS, [group_record((1,))], ITEMS)
    assert complete_generations(client) == ()


class Meddling(RedisClient):
    """A client beside which somebody else meddles after the records are written."""

    def __init__(self, url: str, raw: Any, meddle: Any) -> None:
        super().__init__(url)
        self.raw, self.meddle = raw, meddle

    def get_many(self, keys: Any) -> list[bytes | None]:
        """Meddle first."""
        self.meddle(self.raw)
        return super().get_many(keys)


@pytest.mark.parametrize(
    ("meddle", "reason"),
    [
        (lambda raw: raw.delete("choirrec:g1:u:u7"), "1 records are gone, choirrec:g1:u:u7"),
        (lambda raw: raw.setrange("choirrec:g1:u:u7", 20, b"\xff"), "is not what was written"),
        (lambda raw: raw.set("choirrec:g1:publisher", "other"), "took it over"),
    ],
)
def test_verification_finds_what_changed(
    server: EmbeddedRedis, raw: Any, meddle: Any, reason: str
) -> None:
    """An evicted record, a changed byte and a second publisher all keep it from completing."""
    meddling = Meddling(server.url, raw, meddle)
    with pytest.raises(PublishError, match=reason):
        publish_all(meddling, "g1")
    assert complete_generations(meddling) == ()
    meddling.close()


def test_a_user_published_twice_is_named(client: RedisClient) -> None:
    """A record that comes twice is found out and named."""
    twice = [*USERS[:39], replace(USERS[0], purchases=99)]
    with pytest.raises(PublishError, match="choirrec:g1:u:u0 came twice"):
        publish(client, meta("g1"), twice, GROUPS, ITEMS)


def test_a_full_redis_says_so(
    client: RedisClient, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running out of memory midway is told in words, and the generation stays incomplete."""
    monkeypatch.setattr(publishing, "SAMPLE_RECORDS", 1)

    def filling() -> Iterator[UserRecord]:
        yield from USERS[:30]
        raw.config_set("maxmemory", 1)
        yield from USERS[30:]

    with pytest.raises(RedisFailed, match="is full"):
        publish(client, meta("g1"), filling(), GROUPS, ITEMS)
    raw.config_set("maxmemory", 0)
    assert complete_generations(client) == ()


def test_a_redis_that_is_away_says_so() -> None:
    """No server: the error names the address and what to check, without the password."""
    client = RedisClient("redis://:secret@127.0.0.1:1/0")
    with pytest.raises(RedisFailed, match=r"127.0.0.1:1 does not answer") as caught:
        publish_all(client, "g1")
    assert "secret" not in str(caught.value)


def test_a_url_that_is_none_says_so() -> None:
    """A wrong URL is refused with an example of a right one."""
    with pytest.raises(RedisFailed, match="expected redis://"):
        RedisClient("http://nowhere")


def test_keep_must_leave_one(client: RedisClient, raw: Any) -> None:
    """Keeping no generation at all is refused."""
    with pytest.raises(PublishError, match="keep 0"):
        publish_all(client, "g1", keep=0)
    assert keys(raw) == set()


def test_a_hostile_name_is_refused(client: RedisClient, raw: Any) -> None:
    """A name that could reach other keys is refused."""
    with pytest.raises(ValueError, match="letters, digits"):
        publish_all(client, "a:b")
    assert keys(raw) == set()


def test_an_unreadable_meta_is_replaced(client: RedisClient, raw: Any) -> None:
    """A meta document that is no JSON counts as an unfinished generation."""
    raw.set(meta_key("g1"), "{")
    publish_all(client, "g1")
    assert_whole(raw, "g1")


def test_chunks_and_list_are_redis_lists(client: RedisClient, raw: Any) -> None:
    """The id list and the list of generations are what readers expect."""
    publish_all(client, "g1")
    assert raw.lrange(COMPLETE_GENERATIONS, 0, -1) == [b"g1"]
    assert raw.llen(id_list_key("g1", 0)) == 45
