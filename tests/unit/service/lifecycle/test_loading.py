"""Loading: every kind of broken bundle is refused with its reason, and leaves nothing behind."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.bundle import open_bundle
from model.golden import snapshot_from_json, snapshot_to_json
from model.repository import Repository
from service.errors import LoadRefused
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle.loading import BundleLoader
from service.lifecycle.states import State
from tests import damage
from tests.broken_bundles import BROKEN
from tests.fixtures.bundles import World, make_world, reseal, write_bundle

VERDICT_S = 5.0
"""Within which an operator learns that a bundle is broken."""


def _loader(home: Path) -> BundleLoader:
    repository = Repository(str(home / "repository"))
    return BundleLoader(repository, home / "store", OnnxRuntimeBackend(1), 125)


def _copies(home: Path) -> list[Path]:
    """What the private store holds, locks apart."""
    return [entry for entry in (home / "store").glob("*") if entry.is_dir()]


def _no_report(_: State) -> None:
    pass


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of version 2 that nobody harms."""
    folder = tmp_path_factory.mktemp("good") / "2"
    write_bundle(make_world(2), folder)
    return folder


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_bundle_is_refused_with_its_reason(kind: str, good: Path, tmp_path: Path) -> None:
    """Whatever is wrong with a version, loading it says so exactly, soon, and leaves nothing."""
    shutil.copytree(good, tmp_path / "repository" / "2")
    BROKEN[kind](tmp_path / "repository" / "2")
    started = time.monotonic()
    with pytest.raises(LoadRefused, match=BROKEN[kind].reason):
        _loader(tmp_path).load(2, _no_report)
    assert time.monotonic() - started < VERDICT_S
    assert not _copies(tmp_path)


def test_a_snapshot_that_cannot_answer_is_refused(good: Path, tmp_path: Path) -> None:
    """A version that would fail on the day that Redis is gone fails when it is loaded."""
    folder = tmp_path / "repository" / "2"
    shutil.copytree(good, folder)
    _endless_snapshot(folder, make_world(2))
    with pytest.raises(LoadRefused, match=r"prior_snapshot.json, prefix \(\): the graphs gave"):
        _loader(tmp_path).load(2, _no_report)


def _endless_snapshot(folder: Path, world: World) -> None:
    shutil.rmtree(folder)
    weights = replace(world.weights, group_side=world.weights.group_side * np.float32(100))
    write_bundle(replace(world, weights=weights), folder)
    path = folder / "prior_snapshot.json"
    snapshot = snapshot_from_json(path.read_text())
    huge = replace(snapshot.records[()], continuous=np.array([3e38], np.float32))
    path.write_text(snapshot_to_json(replace(snapshot, records={**snapshot.records, (): huge})))
    reseal(folder, world)


def test_load_reports_its_states_in_order(home: Path, tmp_path: Path) -> None:
    """An operator sees where a load stands."""
    states: list[State] = []
    loader = BundleLoader(
        Repository(str(home / "repository")), tmp_path / "store", OnnxRuntimeBackend(1), 125
    )
    loaded = loader.load(1, states.append)
    assert states == ["fetching", "verifying", "loading", "golden", "warming"]
    (copy,) = _copies(tmp_path)
    assert copy.name == f"1-{loaded.bundle.digest[:16]}"


def test_what_serves_does_not_need_the_repository(home: Path, tmp_path: Path) -> None:
    """The private copy is a copy: changing the repository changes nothing that is loaded."""
    write_bundle(make_world(3), tmp_path / "repository" / "3")
    loaded = _loader(tmp_path).load(3, _no_report)
    before = np.array(loaded.bundle.tables.user)
    damage.flip_bit(tmp_path / "repository" / "3")
    assert np.array_equal(open_bundle(loaded.bundle.folder).tables.user, before)


def test_old_copies_are_removed_but_those_in_use(tmp_path: Path) -> None:
    """The store does not grow with every version."""
    loader = _loader(tmp_path)
    loaded = []
    for version in range(1, 6):
        write_bundle(make_world(version), tmp_path / "repository" / str(version))
        loaded.append(loader.load(version, _no_report))
    del loaded[1:]
    loader.prune()
    left = {folder.name.split("-")[0] for folder in _copies(tmp_path)}
    assert left == {"1", "4", "5"}


def test_empty_or_missing_repository_is_told(tmp_path: Path) -> None:
    """An operator who forgot to export is told so."""
    with pytest.raises(LoadRefused, match="holds no complete model version"):
        _loader(tmp_path).newest_version()
