"""The private store: copies that several processes share and nobody loses."""

import multiprocessing
import shutil
import stat
import time
from hashlib import sha256
from pathlib import Path

import pytest

from model.repository import AnotherBundle, Repository, UnknownVersion
from service.lifecycle.private_store import PrivateStore
from tests.fixtures.bundles import make_world, write_bundle


@pytest.fixture
def store(tmp_path: Path) -> PrivateStore:
    """A store over a repository of versions 1 to 4."""
    for version in range(1, 5):
        write_bundle(make_world(version), tmp_path / "repository" / str(version))
    return _open(tmp_path)


def _open(home: Path) -> PrivateStore:
    return PrivateStore(home / "store", Repository(str(home / "repository")))


def _names(home: Path) -> list[str]:
    return sorted(
        entry.name.split("-")[0] for entry in (home / "store").iterdir() if entry.is_dir()
    )


def test_equal_copy_is_used_again(store: PrivateStore) -> None:
    """Workers that want one version map the same files, so that its tables are in memory once."""
    first, second = store.take(1), store.take(1)
    assert first.folder == second.folder
    assert (first.fresh, second.fresh) == (True, False)


def test_copy_in_use_is_never_removed(store: PrivateStore, tmp_path: Path) -> None:
    """What another process holds stays, however old it is; what nobody holds goes."""
    held = store.take(1)
    others = [store.take(version) for version in (2, 3, 4)]
    for other in others:
        other.release()
    _open(tmp_path).prune()
    assert _names(tmp_path) == ["1", "3", "4"]
    held.release()
    _open(tmp_path).prune()
    assert _names(tmp_path) == ["3", "4"]


def _hold_for_ever(home: Path, ready: "multiprocessing.synchronize.Event") -> None:
    copy = _open(home).take(1)
    ready.set()
    time.sleep(600)
    copy.release()


def test_killed_process_holds_nothing(store: PrivateStore, tmp_path: Path) -> None:
    """Kill -9 leaves no lock behind that somebody would have to remove."""
    for version in (1, 2, 3):
        store.take(version).release()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold_for_ever, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    store.prune()
    assert _names(tmp_path) == ["1", "2", "3"]
    process.kill()
    process.join()
    store.prune()
    assert _names(tmp_path) == ["2", "3"]


def test_unfinished_copies_are_cleared_away(store: PrivateStore, tmp_path: Path) -> None:
    """What a killed process was fetching does not fill the disk."""
    store.take(1).release()
    (tmp_path / "store" / ".fetching-abc").mkdir()
    store.prune()
    assert [entry.name[:2] for entry in (tmp_path / "store").iterdir() if entry.is_dir()] == ["1-"]


@pytest.mark.parametrize("lost", ["version", "repository"])
def test_copy_outlives_the_repository(store: PrivateStore, tmp_path: Path, lost: str) -> None:
    """A worker that begins anew serves what it served, although the repository is gone."""
    folder = store.take(1).folder
    shutil.rmtree(tmp_path / "repository" / ("1" if lost == "version" else ""))
    assert store.take(1).folder == folder
    with pytest.raises(UnknownVersion):
        store.take(9)


def test_copy_outlives_a_damaged_manifest(store: PrivateStore, tmp_path: Path) -> None:
    """What was verified here serves on, whatever has become of the version there."""
    folder = store.take(1).folder
    (tmp_path / "repository" / "1" / "manifest.json").write_text("{")
    assert store.take(1).folder == folder


def test_activated_bundle_is_the_only_one_of_its_number(
    store: PrivateStore, tmp_path: Path
) -> None:
    """One version number never means two models, whatever was put into the repository since."""
    folder = store.take(1).folder
    digest = sha256((folder / "manifest.json").read_bytes()).hexdigest()
    shutil.rmtree(tmp_path / "repository" / "1")
    write_bundle(make_world(1, "another encoder"), tmp_path / "repository" / "1")
    assert store.take(1, digest).folder == folder
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(AnotherBundle, match="another bundle under this number"):
        store.take(1, digest)
    assert _names(tmp_path) == []


def test_changed_version_is_fetched_anew(store: PrivateStore, tmp_path: Path) -> None:
    """A copy serves only as long as it is what the repository says of the version."""
    before = store.take(1)
    shutil.rmtree(tmp_path / "repository" / "1")
    write_bundle(make_world(1, "another encoder"), tmp_path / "repository" / "1")
    after = store.take(1)
    assert after.fresh
    assert after.folder != before.folder


def test_nobody_else_may_look_into_it(store: PrivateStore, tmp_path: Path) -> None:
    """What was verified stays what was verified: only its owner may enter."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o755)
    store.take(1)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_discarded_copy_is_gone_unless_somebody_looks_at_it(
    store: PrivateStore, tmp_path: Path
) -> None:
    """A version that was refused leaves nothing, and takes nothing from another process."""
    first, second = store.take(1), store.take(1)
    store.discard(first)
    assert _names(tmp_path) == ["1"]
    store.discard(second)
    assert _names(tmp_path) == []
