"""The whole way: a log becomes a bundle and records, and the service answers as training did."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from model.bundle import open_bundle
from model.evaluation import REPORT_FILE
from offline.__main__ import main as offline_main
from offline.artefacts import Store
from offline.groupings import PROFILES
from offline.parity import difference
from offline.product import Product
from offline.release import Records, cut_records, publish_records
from service.cli import main as service_main
from tests.fixtures.redis import RedisServer, running_redis
from tests.fixtures.services import Client, service_process
from tests.fixtures.tiny_answers import Published, call, candidates, logits_of
from tests.fixtures.tiny_log import (
    N_ITEMS,
    N_USERS,
    SEED,
    TINY_PRESET,
    TinyRelease,
    building,
    shared_folder,
    tiny_pipeline,
    tiny_release,
    write_log,
)

pytestmark = [pytest.mark.slow, pytest.mark.needs("redis-server")]

TOLERANCE = 1e-5
BATCH = 50


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """The tiny log as a bundle and records."""
    return tiny_release(tmp_path_factory)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory, way: TinyRelease) -> Iterator[RedisServer]:
    """A real Redis with the published generation."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        publish_records(way.records, server.url)
        yield server


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, way: TinyRelease, redis: RedisServer
) -> Iterator[Client]:
    """The real service as a process; small chunks, so that every answer is put together."""
    environment = {
        "CHOIRREC_REPOSITORY": way.repository.url,
        "CHOIRREC_STORE": str(tmp_path_factory.mktemp("store")),
        "CHOIRREC_REDIS_URL": redis.url,
        "CHOIRREC_CHUNK": "11",
        "CHOIRREC_DRAIN_S": "0",
        "CHOIRREC_FETCH_BUDGET_MS": "2000",
    }
    with service_process(environment) as (client, _):
        yield client


@pytest.fixture(scope="module")
def published(way: TinyRelease, redis: RedisServer) -> Published:
    """Everything that answers for the published records."""
    return Published(way, redis)


def test_training_graphs_and_service_say_the_same_on_ten_thousand_rows(
    published: Published, service: Client
) -> None:
    """Network = ONNX Runtime = POST /score = POST /score/batch within 1e-5 max(1, |logit|)."""
    users, items = published.user_ids, [candidates(number) for number in range(N_USERS)]
    network, graphs = published.answers(users, items)
    assert network.individual_logit.size >= 10_000
    calls = [call(published, *pair) for pair in zip(users, items, strict=True)]
    single = [dict(service.http.post("/score", json=one).json()) for one in calls]
    batched: list[dict[str, Any]] = []
    for start in range(0, len(calls), BATCH):
        requests = {"requests": calls[start : start + BATCH]}
        batched += service.http.post("/score/batch", json=requests).json()["responses"]
    for answers in (single, batched):
        assert [answer["item_ids"] for answer in answers] == items
        assert all(answer["degraded"] == ["item_unknown"] for answer in answers)
        assert all(answer["user"]["status"] == "known" for answer in answers)
        assert difference(network, logits_of(answers)) <= TOLERANCE
    assert difference(network, graphs) <= TOLERANCE
    # Answers that change places are told apart: the comparison is no formality.
    assert difference(network, logits_of(single[::-1])) > 1000 * TOLERANCE


def test_the_answer_fuses_what_it_shows(published: Published, service: Client) -> None:
    """Scores follow from the answer's own logits and alpha_fusion by equation 10."""
    answer = service.score(**call(published, "customer-4", candidates(4)))
    alpha = answer["alpha_fusion"]
    group, individual = (np.array(answer[f"{name}_logits"]) for name in ("group", "individual"))
    fused = alpha * group + (1 - alpha) * individual
    assert np.array(answer["fused_logits"]) == pytest.approx(fused, abs=1e-5)
    assert np.array(answer["scores"]) == pytest.approx(1 / (1 + np.exp(-fused)), abs=1e-5)
    assert answer["item_status"].count("unknown") == 1
    assert 0 < alpha < 1


@st.composite
def shuffled_pieces(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """An order of candidates, repeats included, and where it is cut into requests."""
    length = draw(st.integers(1, 60))
    order = draw(st.lists(st.integers(0, N_ITEMS), min_size=length, max_size=length))
    cuts = draw(st.lists(st.integers(1, length), max_size=4))
    return order, sorted({0, length, *cuts})


@settings(
    max_examples=40,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(number=st.integers(0, N_USERS - 1), drawn=shuffled_pieces())
def test_no_split_or_order_of_candidates_shows(
    published: Published, service: Client, number: int, drawn: tuple[list[int], list[int]]
) -> None:
    """However candidates are ordered, repeated and spread over requests, logits are the same."""
    order, cuts = drawn
    user_id, items = f"customer-{number}", [f"sku-{place}" for place in order]
    network, graphs = published.answers([user_id], [items])
    pieces = [items[begin:end] for begin, end in pairwise(cuts)]
    answers = [service.score(**call(published, user_id, piece)) for piece in pieces]
    joined = {
        name: [value for answer in answers for value in answer[name]]
        for name in ("item_ids", "individual_logits", "group_logits")
    }
    assert joined["item_ids"] == items
    found = logits_of([{**joined, "alpha_fusion": answers[0]["alpha_fusion"]}])
    assert difference(network, found) <= TOLERANCE
    assert difference(network, graphs) <= TOLERANCE
    assert len({answer["alpha_fusion"] for answer in answers}) == 1


def test_users_of_one_prefix_share_the_group_logit(published: Published, service: Client) -> None:
    """To the bit, whoever asks and whenever: the group channel knows prefix and item alone."""
    items = candidates(0)
    by_prefix: dict[tuple[int, ...], set[tuple[float, ...]]] = {}
    individual: dict[tuple[int, ...], set[tuple[float, ...]]] = {}
    asked = 0
    for user_id in published.user_ids[:120]:
        answer = service.score(**call(published, user_id, items))
        prefix = tuple(answer["user"]["prefix_used"])
        assert prefix == published.user(user_id).prefix
        by_prefix.setdefault(prefix, set()).add(tuple(answer["group_logits"]))
        individual.setdefault(prefix, set()).add(tuple(answer["individual_logits"]))
        asked += 1
    assert asked > 2 * len(by_prefix)
    assert all(len(seen) == 1 for seen in by_prefix.values())
    assert len({logits for seen in by_prefix.values() for logits in seen}) == len(by_prefix)
    assert sum(len(seen) for seen in individual.values()) > len(individual)


def test_the_service_passed_its_golden_check(way: TinyRelease, service: Client) -> None:
    """What is ready has reproduced training's own logits, and says which model it is."""
    report = service.models()
    (active,) = report["models"]
    assert active["state"] == "active"
    assert active["model_version"] == way.release.version
    assert active["generation"] == way.records.generation
    assert active["feature_contract"] == way.release.manifest.feature_contract


def later(way: TinyRelease, days: int) -> Records:
    """Records of a later cut, by the frozen encoder block and codebooks."""
    moment = way.pipeline.tables().schema.split.test_start + timedelta(days=days)
    return cut_records(way.pipeline, way.pipeline.served_cut(moment))


def of_profiles(way: TinyRelease) -> Records:
    """Records of the same log by groups of profiles: another encoder block, other codebooks."""
    mine = way.pipeline
    other = Product(mine.store, mine.dataset, mine.preset, PROFILES)
    return cut_records(other, other.served_cut())


def promote(service: Client, generation: str) -> int:
    """The exit code of ``choirrec-serve promote 1 --generation NAME``."""
    manner = ["--why", "a newer cut", "--yes", "--admin", service.admin_url]
    return service_main(["promote", "1", "--generation", generation, *manner])


def test_features_refresh_without_a_new_model(
    way: TinyRelease,
    redis: RedisServer,
    published: Published,
    service: Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A later generation of the same contract serves with the same bundle, and back again."""
    with building(shared_folder(tmp_path_factory)):
        records = later(way, days=5)
    publish_records(records, redis.url, keep=9)
    asked = call(published, "customer-8", ["sku-1", "sku-2", "sku-3"])
    generations = (way.records.generation, records.generation, way.records.generation)
    answers = []
    for generation in generations:
        assert promote(service, generation) == 0
        answers.append(service.score(**asked))
    before, after, again = answers
    assert [answer["generation"] for answer in answers] == list(generations)
    assert before["bundle_digest"] == after["bundle_digest"]
    assert after["degraded"] == []
    assert after["individual_logits"] != before["individual_logits"]
    assert again["individual_logits"] == before["individual_logits"]


def test_records_of_another_contract_are_refused(
    way: TinyRelease,
    redis: RedisServer,
    service: Client,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Other codebooks are another contract: refused with both digests, and the old one serves."""
    with building(shared_folder(tmp_path_factory)):
        records = of_profiles(way)
    assert records.contract != way.records.contract
    publish_records(records, redis.url, keep=9)
    assert promote(service, records.generation) == 1
    said = capsys.readouterr().err
    assert records.contract in said
    assert way.records.contract in said
    answer = service.score("customer-1", ["sku-1"])
    assert answer["generation"] == way.records.generation


def test_one_command_from_a_log_to_records_and_again_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``choirrec-offline build`` exports and publishes; a second one skips all and keeps both."""
    mapping = write_log(tmp_path / "log")
    with running_redis(tmp_path) as server:
        command = ["build", "--mapping", str(mapping), "--root", str(tmp_path / "var")]
        command += ["--preset", "demo", "--redis-url", server.url]
        assert offline_main(command) == 0
        first = capsys.readouterr().out
        digest = (tmp_path / "var/repository/1/manifest.json").read_bytes()
        assert offline_main(command) == 0
        second = capsys.readouterr().out
        names = server.client().lrange("choirrec:generations", 0, -1)
    assert "model version 1 (exported)" in first
    assert "unchanged" not in first
    assert "building" not in second
    assert second.count("unchanged, skipped") >= 10
    assert "model version 1 (unchanged)" in second
    assert ": 0 records written" in second
    assert (tmp_path / "var/repository/1/manifest.json").read_bytes() == digest
    assert isinstance(names, list)
    assert len(names) == 1
    assert not (tmp_path / "var/repository/2").exists()


def test_a_comparison_becomes_the_report_of_the_bundle(tmp_path: Path) -> None:
    """``evaluate --config``, then ``build --evidence``: the bundle says what controls showed."""
    mapping = write_log(tmp_path / "log")
    methods = ["choirrec_aligned", "choirrec_aligned_permuted", "din_activity"]
    (tmp_path / "my.toml").write_text(
        f'seeds = 1\npreset = "demo"\nmethods = {methods}\n'
        '[[data]]\nname = "ours"\nmapping = "log/mapping.toml"\n'
    )
    compare = ["evaluate", "--config", str(tmp_path / "my.toml"), "--workers", "1"]
    root, results = ["--root", str(tmp_path / "var")], tmp_path / "results"
    assert offline_main([*compare, *root, "--out", str(results / "eval.json")]) == 0
    build = ["build", "--mapping", str(mapping), "--preset", "demo", *root]
    assert offline_main([*build, "--evidence", str(results)]) == 0
    bundle = open_bundle(tmp_path / "var/repository/1")
    assert [(one.method, one.seeds) for one in bundle.evaluation.controls] == [
        (methods[1], 1),
        (methods[2], 1),
    ]
    page = (bundle.folder / REPORT_FILE).read_text()
    assert all(str(one.low) in page for one in bundle.evaluation.controls)
    assert "not measured" not in page


KILLED = """
import os, signal, sys
from pathlib import Path
from offline.artefacts import Store
from offline.checkpoints import Checkpoints
from offline.product import Product
from offline.sources import own_files
from tests.fixtures.tiny_log import TINY_PRESET

save, saves = Checkpoints.save, 0

def save_and_die(*arguments):
    global saves
    save(*arguments)
    saves += 1
    if saves == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.save = save_and_die
store, mapping = Path(sys.argv[1]), Path(sys.argv[2])
Product(Store(store), own_files(mapping), TINY_PRESET).trained("choirrec_aligned", 0)
"""


def test_a_killed_training_goes_on_to_equal_bytes(
    way: TinyRelease, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Training killed twice by SIGKILL resumes through the pipeline and ends in the same model."""
    shared = shared_folder(tmp_path_factory)
    mapping, store = shared / "log" / "mapping.toml", tmp_path / "artefacts"
    with building(shared):
        expected = way.pipeline.trained(way.pipeline.method, SEED)
        ignored = shutil.ignore_patterns("training", "evaluation")
        shutil.copytree(shared / "artefacts", store, ignore=ignored)
    for saves in (2, 4):
        command = [sys.executable, "-c", KILLED, str(store), str(mapping), str(saves)]
        killed = subprocess.run(command, check=False, capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert killed.stdout.count("unchanged, skipped") == 6
        left = {path.suffix for path in (store / "training").iterdir()}
        assert left == {".building", ".lock"}
    words: list[str] = []
    pipeline = Product(Store(store, words.append), way.pipeline.dataset, TINY_PRESET)
    resumed = pipeline.trained(pipeline.method, SEED)
    assert resumed.digest == expected.digest
    states = [(made.folder / "state.npz").read_bytes() for made in (resumed, expected)]
    assert states[0] == states[1]
    assert any("training" in word and "done" in word for word in words)


def test_the_log_itself_repeats(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """The tiny log is the same everywhere, so that these figures are."""
    tiny_pipeline(tmp_path_factory)
    mapping = write_log(tmp_path)
    shared = shared_folder(tmp_path_factory) / "log"
    for path in mapping.parent.iterdir():
        assert path.read_bytes() == (shared / path.name).read_bytes()
