"""Release: one bundle per model and cut, and records that carry the same contract."""

import json
import shutil
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import offline.release
from model.assembly import UserArrays, user_arrays
from model.bundle import MANIFEST, BrokenBundle, open_bundle
from model.evaluation import EVALUATION_FILE, REPORT_FILE
from model.records import encode_record
from model.repository import Repository
from model.spec import hour_and_weekday
from offline.artefacts import Store
from offline.distillation import mean_alpha_distill
from offline.product import Product
from offline.release import Records, cut_records, publish_records, release, snapshot
from offline.sampling import clicks_of, periods
from offline.training import Epoch, TrainResult
from offline.triton import stands
from tests.fixtures.redis import RedisServer, running_redis
from tests.fixtures.tiny_log import (
    SEED,
    TEST_DAY,
    TINY_PRESET,
    TinyRelease,
    building,
    day_s,
    shared_folder,
)
from tests.fixtures.tiny_log import tiny_release as make_release

pytestmark = pytest.mark.slow

METHOD = "choirrec_aligned"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """The tiny model's first version."""
    return make_release(tmp_path_factory)


def copy_of(repository: Repository, folder: Path) -> Repository:
    """The same versions in a repository of one's own."""
    shutil.copytree(repository.url.removeprefix("file://"), folder / "repository")
    return Repository(str(folder / "repository"))


def test_the_same_model_is_released_once(tiny: TinyRelease, tmp_path: Path) -> None:
    """Releasing again finds the version that stands; a missing Triton repository is mended."""
    again = release(
        tiny.pipeline, tiny.records, tiny.repository, SEED, tmp_path / "triton", tiny.report
    )
    assert (again.version, again.new) == (tiny.release.version, False)
    assert again.manifest == tiny.release.manifest
    assert tiny.repository.versions() == [1]
    assert stands(1, tmp_path / "triton")
    before = (tmp_path / "triton").stat().st_ino
    release(tiny.pipeline, tiny.records, tiny.repository, SEED, tmp_path / "triton", tiny.report)
    assert (tmp_path / "triton").stat().st_ino == before


def test_another_cut_is_the_next_version(tiny: TinyRelease, tmp_path: Path) -> None:
    """A bundle with other golden records is a new version; the old one stays as it was."""
    repository = copy_of(tiny.repository, tmp_path)
    records = cut_records(tiny.pipeline, tiny.pipeline.fitted_cut())
    made = release(tiny.pipeline, records, repository, SEED, tmp_path / "triton", tiny.report)
    assert (made.version, made.new) == (2, True)
    assert repository.versions() == [1, 2]
    assert repository.manifest(1) == tiny.release.manifest
    assert made.manifest.feature_contract == tiny.release.manifest.feature_contract
    assert stands(2, tmp_path / "triton")


def test_other_evidence_is_the_next_version(tiny: TinyRelease, tmp_path: Path) -> None:
    """A model that more is known of is released again: a bundle's report never changes."""
    repository = copy_of(tiny.repository, tmp_path)
    more = replace(tiny.report, page=f"{tiny.report.page}<!-- more -->", digest="other")
    made = release(tiny.pipeline, tiny.records, repository, SEED, tmp_path / "triton", more)
    assert (made.version, made.new) == (2, True)
    first, second = (tmp_path / "repository" / str(version) / REPORT_FILE for version in (1, 2))
    assert first.read_text() == tiny.report.page
    assert second.read_text() == more.page


def test_versions_of_another_format_are_passed_over(tiny: TinyRelease, tmp_path: Path) -> None:
    """A repository of an earlier build takes a new version beside those that stand there."""
    repository = copy_of(tiny.repository, tmp_path)
    manifest = tmp_path / "repository" / "1" / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 1}))
    made = release(tiny.pipeline, tiny.records, repository, SEED, tmp_path / "triton", tiny.report)
    assert (made.version, made.new) == (2, True)
    with pytest.raises(BrokenBundle, match="format 1"):
        repository.manifest(1)


def test_the_bundle_carries_its_evaluation(tiny: TinyRelease) -> None:
    """Figures for programs and the page for people stand in the bundle, sealed like every file."""
    folder = Path(tiny.repository.url.removeprefix("file://")) / "1"
    assert {EVALUATION_FILE, REPORT_FILE} <= set(tiny.release.manifest.files)
    assert open_bundle(folder).evaluation == tiny.report.evaluation
    assert (folder / REPORT_FILE).read_text() == tiny.report.page
    told = tiny.report.evaluation.segments
    for segment in ("low", "overall"):
        assert told[segment].gauc == tiny.release.manifest.metrics[f"gauc_{segment}"]


def test_a_failed_export_leaves_no_version(
    tiny: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the graphs do not answer as the network does, the repository stays empty."""

    def refuse(*_: object) -> None:
        raise ArithmeticError("the graphs differ")

    monkeypatch.setattr(offline.release, "export_bundle", refuse)
    repository = Repository(str(tmp_path / "repository"))
    with pytest.raises(ArithmeticError):
        release(tiny.pipeline, tiny.records, repository, SEED, tmp_path / "triton", tiny.report)
    assert repository.versions() == []
    assert not list(tmp_path.iterdir())


def test_the_bundle_says_where_it_comes_from(tiny: TinyRelease) -> None:
    """Dataset, provenance, preset, seed, generation and the digests of its stages are recorded."""
    lineage = tiny.release.manifest.lineage
    assert (lineage["dataset"], lineage["event"], lineage["seed"]) == ("tiny-shop", "click", SEED)
    assert lineage["provenance"] == tiny.pipeline.tables().schema.provenance
    assert lineage["losses"] == "identified"
    training = tiny.pipeline.training(METHOD, SEED)
    assert lineage["alpha_distill"] == mean_alpha_distill(training)
    assert lineage["groups"] == "aligned"
    assert (lineage["preset"], lineage["generation"]) == ("tiny", tiny.records.generation)
    assert lineage["artefacts"] == {
        "events": tiny.pipeline.events().digest,
        "samples": tiny.pipeline.samples(tiny.pipeline.grouping).digest,
        "training": tiny.pipeline.trained(METHOD, SEED).digest,
    }
    assert tiny.release.manifest.metrics == tiny.pipeline.metrics(METHOD, SEED)


def test_a_training_that_does_not_distil_says_so(
    tiny: TinyRelease,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A distillation that has switched itself off is told once, when training ends."""
    epoch = Epoch(loss=0.5, validation=0.6, diagnostics={"alpha_distill_qualified": 0.002})
    result = TrainResult(steps=1, best_epoch=0, epochs=(epoch,), rows_per_s=1.0)
    monkeypatch.setattr("offline.learning.train", lambda *_: result)
    store = Store(tmp_path, lambda _: None)
    pipeline = Product(store, tiny.pipeline.dataset, TINY_PRESET)
    monkeypatch.setattr(pipeline, "samples", tiny.pipeline.samples)
    assert pipeline.training(METHOD, SEED)["best_epoch"] == 0
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"{METHOD}, seed 0: alpha_distill has fallen to 0.002")


def test_records_and_bundle_share_the_contract(tiny: TinyRelease) -> None:
    """What is published beside a bundle is what the bundle can read."""
    bundle = open_bundle(Path(tiny.repository.url.removeprefix("file://")) / "1")
    assert tiny.records.contract == bundle.manifest.feature_contract
    assert bundle.prior_snapshot.generation == tiny.records.generation
    assert bundle.spec == tiny.pipeline.load_samples(tiny.pipeline.grouping).spec


def test_nothing_in_a_generation_is_as_late_as_its_cut(tiny: TinyRelease) -> None:
    """Purchases of users and sequences of groups end before the cut, and say as of when."""
    cut_s = tiny.records.side.as_of_s
    assert cut_s == day_s(TEST_DAY)
    for user in tiny.records.users:
        assert user.written_at_s == cut_s
        assert (user.purchase_times < cut_s).all()
    for group in tiny.records.side.groups.values():
        assert group.written_at_s == cut_s
        assert (group.times < cut_s).all()


def test_every_prior_that_a_user_needs_is_published(tiny: TinyRelease) -> None:
    """Each user's prefix has a record, as has every step of the ladder above it."""
    groups = tiny.records.side.groups
    depths = {user.prefix_depth for user in tiny.records.users}
    assert depths >= {0, 2, 3}
    for user in tiny.records.users:
        assert all(user.prefix[:depth] in groups for depth in range(user.prefix_depth + 1))


def test_the_snapshot_holds_the_shallow_priors(tiny: TinyRelease) -> None:
    """For the day Redis is gone: the global prior and those of level 1, nothing deeper."""
    kept = snapshot(tiny.records)
    assert {len(prefix) for prefix in kept.records} == {0, 1}
    assert kept.as_of_s == tiny.records.side.as_of_s


def test_a_later_cut_has_newer_records_of_the_same_contract(
    tiny: TinyRelease, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Features refresh without a model: another name, other records, one contract."""
    with building(shared_folder(tmp_path_factory)):
        later = later_records(tiny.pipeline, days=4)
    assert later.contract == tiny.records.contract
    assert later.generation != tiny.records.generation
    pairs = zip(later.users, tiny.records.users, strict=True)
    assert sum(encode_record(new) != encode_record(old) for new, old in pairs) > 100
    assert all(
        new.purchases >= old.purchases
        for new, old in zip(later.users, tiny.records.users, strict=True)
    )


def test_a_sample_is_assembled_from_the_record_of_its_moment(tiny: TinyRelease) -> None:
    """A test row holds what serving would have assembled from a record of that very second."""
    tables, samples = tiny.pipeline.tables(), tiny.pipeline.load_samples(tiny.pipeline.grouping)
    spec, catalogue, split = samples.spec, samples.catalogue, samples.test
    clicks = clicks_of(tables, catalogue, periods(tables.schema.split)[2])
    users, times = clicks.context_user.tolist(), clicks.context_time.tolist()
    side, histories = tiny.records.side, tiny.pipeline.histories()
    records = [
        histories.record(spec, user, time_s, side.codes[user], int(side.depths[user]))
        for user, time_s in zip(users, times, strict=True)
    ]
    arrays = user_arrays(spec, catalogue, records, times, hour_and_weekday(times))
    assert len(records) > 200
    for column in fields(UserArrays):
        found = getattr(split.users, column.name)
        assert np.array_equal(found, getattr(arrays, column.name)), column.name


@pytest.mark.needs("redis-server")
def test_records_are_published_once(tiny: TinyRelease, tmp_path: Path) -> None:
    """A generation of all users and groups stands complete; publishing again writes nothing."""
    with running_redis(tmp_path) as server:
        first, second = (publish_records(tiny.records, server.url) for _ in range(2))
        assert_complete(server, first.generation.name)
    assert first.records == len(tiny.records.users) + len(tiny.records.side.groups)
    assert second.records == 0
    assert second.generation == first.generation


def assert_complete(server: RedisServer, name: str) -> None:
    """The generation is the one that is listed."""
    assert server.client().lrange("choirrec:generations", 0, -1) == [name.encode()]


def later_records(product: Product, days: int) -> Records:
    """Records of a cut some days after the serving cut, by the frozen codebooks."""
    moment = product.tables().schema.split.test_start + timedelta(days=days)
    return cut_records(product, product.served_cut(moment))
