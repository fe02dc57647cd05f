"""Replay: a logged request comes out as it was answered, and changes find their cause."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from model.generation import COMPLETE_GENERATIONS
from model.served_log import SERVED
from service import cli
from service.feedback import logged as logged_module
from service.feedback import replay as replay_module
from service.feedback.attribution import ALL, Effect
from service.feedback.replay import NotReplayed, Replay, Wish, replay
from service.settings import Settings
from tests.fixtures.bundles import (
    ITEMS,
    NEW_ITEMS,
    QUIET_USER,
    World,
    make_world,
    publish,
    reseal,
    write_bundle,
)
from tests.fixtures.newcomers import newcomer_world
from tests.fixtures.redis import RedisServer, running_redis
from tests.fixtures.services import live_service, settings_for

CANDIDATES = [*ITEMS, *NEW_ITEMS, "nowhere", ITEMS[0]]
REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "known": {"user_id": "user-23"},
    "quiet": {"user_id": QUIET_USER, "context": {"hour": 3, "weekday": 6}},
    "unknown": {"user_id": "nobody"},
    "newcomer": {"user_id": "nobody", "user_attributes": {"age": "30", "city": "b"}},
    "past": {"user_id": "user-7", "request_time": 1_700_500_000},
}


@dataclass(frozen=True)
class Scene:
    """What was served and logged, and the Redis as it stands now."""

    settings: Settings
    log: Path
    world: World
    redis: "Redis"

    def replay(self, request_id: str, **fields: Any) -> Replay:
        """Replay one request."""
        return replay(self.settings, Wish(request_id, self.log, **fields))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this module alone."""
    with running_redis(tmp_path_factory.mktemp("redis")) as one:
        yield one


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Scene:
    """Requests answered by version 1 with generation g1, in chunks of 7, and logged."""
    home = tmp_path_factory.mktemp("replay")
    world = newcomer_world(1, home / "repository" / "1")
    newcomer_world(2, home / "repository" / "2")
    write_bundle(make_world(3, "another"), home / "repository" / "3")
    publish(world, server.client(), "g1")
    settings = settings_for(
        home, server.url, log=home / "log", log_sample=1.0, chunk=7, model_version=1
    )
    with live_service(settings) as service:
        for request_id, fields in REQUESTS.items():
            service.score(item_ids=CANDIDATES, request_id=request_id, **fields)
    # A replay must not follow the settings of today.
    return Scene(settings.model_copy(update={"chunk": 125}), home / "log", world, server.client())


@pytest.fixture
def generation(scene: Scene) -> Iterator[Any]:
    """Publishes a changed world as the present generation, for one test."""
    yield lambda world: publish(world, scene.redis, "g2")
    scene.redis.lrem(COMPLETE_GENERATIONS, 0, "g2")


def effects(replayed: Replay) -> dict[str, Effect]:
    """By part."""
    return {one.part: one for one in replayed.now.effects}


def moved(replayed: Replay) -> set[str]:
    """The parts whose exchange changes any logit."""
    return {one.part for one in replayed.now.effects if np.abs(one.logit).max() > 0}


@pytest.mark.parametrize("request_id", REQUESTS)
def test_answer_is_reproduced_bit_by_bit(scene: Scene, request_id: str) -> None:
    """Whoever doubts a score can compute it again: known, unknown, new users and items alike."""
    replayed = scene.replay(request_id)
    assert (replayed.again.verdict, replayed.again.same_build) == ("equal", True)
    assert replayed.again.holds
    assert moved(replayed) == set()
    assert (replayed.now.version, replayed.now.generation) == (1, "g1")


def test_changed_record_is_found_out(scene: Scene, generation: Any) -> None:
    """A user who bought more since is scored otherwise because of that, and of nothing else."""
    user = replace(scene.world.users["user-23"], window_purchases=0, window_clicks=1)
    generation(replace(scene.world, users={**scene.world.users, "user-23": user}))
    replayed = scene.replay("known")
    assert replayed.again.verdict == "equal"
    assert moved(replayed) == {"user record", ALL}
    found = effects(replayed)
    assert np.array_equal(found["user record"].logit, found[ALL].logit)


def test_changed_group_is_found_out(scene: Scene, generation: Any) -> None:
    """A group prior that moved is told apart from the user's own record."""
    groups = {p: replace(g, items=g.items[::-1].copy()) for p, g in scene.world.groups.items()}
    generation(replace(scene.world, groups=groups))
    assert moved(scene.replay("known")) == {"group record", ALL}
    assert moved(scene.replay("newcomer")) == {"group record", ALL}


def test_changed_new_item_is_found_out(scene: Scene, generation: Any) -> None:
    """Only the candidate whose record changed moves."""
    item = replace(scene.world.new_items[NEW_ITEMS[0]], codes=np.array([3, 3, 2], np.int32))
    generation(replace(scene.world, new_items={**scene.world.new_items, NEW_ITEMS[0]: item}))
    replayed = scene.replay("known")
    assert moved(replayed) == {"new items", ALL}
    (places,) = np.nonzero(effects(replayed)[ALL].logit)
    assert [CANDIDATES[place] for place in places] == [NEW_ITEMS[0]]


def test_other_model_is_told_apart_from_other_records(scene: Scene, generation: Any) -> None:
    """With both changed, each tells its own part, and all of them what it comes to."""
    user = replace(scene.world.users["user-23"], window_purchases=0)
    generation(replace(scene.world, users={**scene.world.users, "user-23": user}))
    replayed = scene.replay("known", version=2)
    assert moved(replayed) == {"model", "user record", ALL}
    only_model = scene.replay("known", version=2, generation="g1")
    assert moved(only_model) == {"model", ALL}
    found, alone = effects(replayed), effects(only_model)
    assert np.array_equal(found["model"].logit, alone["model"].logit)
    assert replayed.now.version == 2


def test_model_of_another_contract_changes_all_at_once(scene: Scene) -> None:
    """Records of one contract are never read by a model of another."""
    with pytest.raises(NotReplayed, match="no generation fits"):
        scene.replay("known", version=3)
    publish(make_world(3, "another"), scene.redis, "g3")
    replayed = scene.replay("known", version=3)
    assert [one.part for one in replayed.now.effects] == [ALL]
    with pytest.raises(NotReplayed, match="another feature contract"):
        scene.replay("newcomer", version=3)


def test_another_build_is_held_to_the_tolerance(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine the last bits may differ, but no more than the manifest allows."""
    monkeypatch.setattr(replay_module, "build_name", lambda: "elsewhere")
    monkeypatch.setattr(replay_module, "rescore", _nudged(1e-6))
    again = scene.replay("known").again
    assert (again.verdict, again.same_build, again.holds) == ("within tolerance", False, True)
    monkeypatch.setattr(replay_module, "rescore", _nudged(1e-2))
    again = scene.replay("known").again
    assert (again.verdict, again.holds) == ("differs", False)


def test_same_build_owes_every_bit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A last bit that differs on the very same build is a finding, not noise."""
    monkeypatch.setattr(replay_module, "rescore", _nudged(1e-6))
    again = scene.replay("known").again
    assert (again.verdict, again.same_build, again.holds) == ("within tolerance", True, False)


def _nudged(by: float) -> Any:
    original = logged_module.rescore

    def nudged(*arguments: Any) -> Any:
        scores = original(*arguments)
        return replace(scores, fused_logits=scores.fused_logits + np.float32(by))

    return nudged


def test_redis_that_is_gone_leaves_the_model(scene: Scene) -> None:
    """The answer is reproduced all the same; what cannot be told is said."""
    away = scene.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    replayed = replay(away, Wish("known", scene.log, version=2))
    assert replayed.again.verdict == "equal"
    assert moved(replayed) == {"model", ALL}
    assert replayed.now.generation is None
    assert "the present records were not read" in replayed.now.notes[0]


def test_another_bundle_under_the_same_number_is_refused(scene: Scene, tmp_path: Path) -> None:
    """A version that was replaced is never mistaken for the one that answered."""
    world = newcomer_world(1, tmp_path / "1")
    (tmp_path / "1" / "model_card.md").write_text("# Another one\n")
    reseal(tmp_path / "1", world)
    other = scene.settings.model_copy(
        update={"repository": str(tmp_path), "store": tmp_path / "store"}
    )
    with pytest.raises(NotReplayed, match="another bundle"):
        replay(other, Wish("known", scene.log))


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"request_id": "never"}, "is not in .*: it was not sampled"),
        ({"request_id": "known", "version": 9}, "9"),
        ({"request_id": "known", "generation": "g9"}, "generation g9 is not in the store"),
    ],
)
def test_what_is_not_there_is_named(scene: Scene, wish: dict[str, Any], words: str) -> None:
    """An operator reads what is missing and why it may be."""
    with pytest.raises(NotReplayed, match=words):
        scene.replay(**wish)


def test_file_that_cannot_be_read_stops_no_replay(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged file is named, whether the request stands in another one or perhaps in it."""
    log = tmp_path / "log"
    shutil.copytree(scene.log, log)
    broken = log / SERVED / "99999999.parquet"
    broken.write_bytes(b"no parquet")
    assert replay(scene.settings, Wish("known", log)).again.verdict == "equal"
    assert f"{broken} cannot be read" in caplog.text
    with pytest.raises(NotReplayed, match="or it is in one of 1 files that cannot be read"):
        replay(scene.settings, Wish("never", log))


def test_folder_that_is_no_log_is_named(scene: Scene, tmp_path: Path) -> None:
    """A mistyped folder is told from a request that was not sampled."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="is not the folder of a log"):
            replay(scene.settings, Wish("known", folder))


def test_hidden_user_is_reproduced_too(scene: Scene, tmp_path: Path, server: RedisServer) -> None:
    """Hiding users costs the look at their present records, never the proof of an answer."""
    (tmp_path / "key").write_text("secret")
    settings = scene.settings.model_copy(
        update={"log": tmp_path / "log", "log_user_key_file": tmp_path / "key"}
    )
    with live_service(settings) as service:
        service.score("user-23", CANDIDATES, request_id="hidden")
    replayed = replay(settings, Wish("hidden", tmp_path / "log"))
    assert replayed.again.verdict == "equal"
    assert "hides its users" in replayed.now.notes[0]


def test_command_tells_people_and_programs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The verb works as typed: exit code 0, the verdict in words, every candidate as JSON."""
    for name in ("repository", "store", "redis_url"):
        monkeypatch.setenv(f"CHOIRREC_{name.upper()}", str(getattr(scene.settings, name)))
    command = ["replay", "known", "--log", str(scene.log), "--version", "2"]
    assert cli.main(command) == 0
    told = capfd.readouterr().out
    assert "scored again on the same build: bit-equal" in told
    assert "compared with now: 2/g1" in told
    assert cli.main([*command, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["again"]["holds"] is True
    assert len(document["candidates"]) == len(CANDIDATES)
    assert cli.main(["replay", "never", "--log", str(scene.log)]) == 1
    assert "it was not sampled" in capfd.readouterr().err
    assert cli.main(["replay", "known"]) == 2
    assert "CHOIRREC_LOG" in capfd.readouterr().err
