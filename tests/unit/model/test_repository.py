"""The repository: versions go in once, whole, and come out as they went in."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest

from model import sealed_files
from model.bundle import MANIFEST, BrokenBundle, open_bundle
from model.repository import Repository, UnknownVersion
from tests.fixtures.bundles import make_world, write_bundle


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed bundle of version 1."""
    folder = tmp_path_factory.mktemp("sealed") / "1"
    write_bundle(make_world(), folder)
    return folder


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty repository: a local folder, or an object store in memory."""
    if request.param == "local":
        yield str(tmp_path / "repository")
        return
    root = f"memory://{uuid.uuid4().hex}"
    yield root
    files, path = fsspec.core.url_to_fs(root)
    if files.exists(path):
        files.rm(path, recursive=True)


def test_a_bundle_comes_out_as_it_went_in(url: str, sealed: Path, tmp_path: Path) -> None:
    """A fetched version opens and has the digest of the sealed one."""
    repository = Repository(url)
    repository.put(sealed, 1)
    (tmp_path / "private").mkdir()
    repository.fetch(1, tmp_path / "private")
    assert open_bundle(tmp_path / "private").digest == open_bundle(sealed).digest
    assert repository.manifest(1) == open_bundle(sealed).manifest


def test_versions_are_numbers_in_order(url: str, sealed: Path, tmp_path: Path) -> None:
    """Versions are listed as numbers ascending; an empty repository holds none."""
    repository = Repository(url)
    assert repository.versions() == []
    for version in (10, 9):
        folder = tmp_path / str(version)
        write_bundle(make_world(version), folder)
        repository.put(folder, version)
    assert repository.versions() == [9, 10]


def test_a_version_goes_in_once(url: str, sealed: Path) -> None:
    """A version that stands is never overwritten."""
    repository = Repository(url)
    repository.put(sealed, 1)
    with pytest.raises(FileExistsError, match="model version 1 already stands"):
        repository.put(sealed, 1)


def test_a_half_copied_version_does_not_count(url: str, sealed: Path, tmp_path: Path) -> None:
    """Without its manifest a version is not there; putting it again completes it."""
    repository = Repository(url)
    repository.put(sealed, 1)
    files, root = fsspec.core.url_to_fs(url)
    files.rm_file(f"{root}/1/{MANIFEST}")
    assert repository.versions() == []
    with pytest.raises(UnknownVersion, match=r"model version 1 is not in .*it holds \[\]"):
        repository.fetch(1, tmp_path / "private")
    repository.put(sealed, 1)
    assert repository.versions() == [1]


def test_a_killed_copy_never_counts_and_can_be_repeated(
    url: str, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any of its writes, a copy is no version; repeated, it is the whole one."""
    repository = Repository(url)
    files, _ = fsspec.core.url_to_fs(url)
    put_file, budget, left = type(files).put_file, 0, 0

    def dying(self: object, source: str, target: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        put_file(self, source, target)

    monkeypatch.setattr(type(files), "put_file", dying)
    while not repository.versions():
        left = budget
        with suppress(KeyboardInterrupt):
            repository.put(sealed, 1)
        budget += 1
    assert budget > len(repository.manifest(1).files)


def test_an_unknown_version_names_the_known(url: str, sealed: Path, tmp_path: Path) -> None:
    """Asking for a version that is not there tells which are."""
    repository = Repository(url)
    repository.put(sealed, 1)
    with pytest.raises(UnknownVersion, match=r"version 7 is not in .*it holds \[1\]"):
        repository.fetch(7, tmp_path)


def test_a_missing_file_is_told(url: str, sealed: Path, tmp_path: Path) -> None:
    """A file lost in the repository is named, and the private copy gets no manifest."""
    repository = Repository(url)
    repository.put(sealed, 1)
    files, root = fsspec.core.url_to_fs(url)
    files.rm_file(f"{root}/1/tables/user.npy")
    (tmp_path / "private").mkdir()
    with pytest.raises(BrokenBundle, match=r"missing files: tables/user.npy"):
        repository.fetch(1, tmp_path / "private")
    assert not (tmp_path / "private" / MANIFEST).exists()


def test_extra_files_are_refused_before_copying(url: str, sealed: Path, tmp_path: Path) -> None:
    """A file that the manifest does not name keeps the whole version out."""
    repository = Repository(url)
    repository.put(sealed, 1)
    files, root = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{root}/1/tables/surplus.npy", b"x")
    (tmp_path / "private").mkdir()
    with pytest.raises(BrokenBundle, match=r"does not name: tables/surplus.npy"):
        repository.fetch(1, tmp_path / "private")
    assert list((tmp_path / "private").iterdir()) == []


def test_a_manifest_that_names_files_outside_is_refused(
    url: str, sealed: Path, tmp_path: Path
) -> None:
    """A hostile manifest writes nothing outside the private copy, nor inside."""
    repository = Repository(url)
    repository.put(sealed, 1)
    files, root = fsspec.core.url_to_fs(url)
    text = files.cat_file(f"{root}/1/{MANIFEST}").decode()
    hostile = text.replace('"spec.json"', '"../spec.json"').encode()
    files.pipe_file(f"{root}/1/{MANIFEST}", hostile)
    (tmp_path / "private").mkdir()
    with pytest.raises(BrokenBundle, match="leaves the bundle"):
        repository.fetch(1, tmp_path / "private")
    assert list((tmp_path / "private").iterdir()) == []
    assert not (tmp_path / "spec.json").exists()


def test_another_versions_manifest_is_refused(url: str, sealed: Path, tmp_path: Path) -> None:
    """A folder whose manifest tells another version is refused with both."""
    repository = Repository(url)
    repository.put(sealed, 2)
    with pytest.raises(BrokenBundle, match="folder 2 holds model_version 1"):
        repository.fetch(2, tmp_path)


def test_an_oversized_version_is_refused_before_copying(
    url: str, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version above the limit never reaches the local disk."""
    repository = Repository(url)
    repository.put(sealed, 1)
    monkeypatch.setattr(sealed_files, "MAX_BUNDLE_BYTES", 100)
    (tmp_path / "private").mkdir()
    with pytest.raises(BrokenBundle, match="at most 100 are accepted"):
        repository.fetch(1, tmp_path / "private")
    assert list((tmp_path / "private").iterdir()) == []


def test_a_version_too_large_for_the_disk_is_not_begun(
    url: str, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk has no room for a version, none of it is copied, and both sizes are told."""
    repository = Repository(url)
    repository.put(sealed, 1)
    size = repository.size_bytes(1)
    assert size == sum(path.stat().st_size for path in sealed.rglob("*") if path.is_file())
    left = shutil.disk_usage(tmp_path)._replace(free=size - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: left)
    (tmp_path / "private").mkdir()
    with pytest.raises(OSError, match=f"needs {size} bytes, the disk has {size - 1} left"):
        repository.fetch(1, tmp_path / "private")
    assert list((tmp_path / "private").iterdir()) == []


def test_links_in_a_local_repository_are_refused(sealed: Path, tmp_path: Path) -> None:
    """A link in the repository is refused, even one to an equal file."""
    shutil.copytree(sealed, tmp_path / "repository" / "1")
    path = tmp_path / "repository" / "1" / "spec.json"
    path.rename(tmp_path / "spec.json")
    path.symlink_to(tmp_path / "spec.json")
    (tmp_path / "private").mkdir()
    with pytest.raises(BrokenBundle, match=r"spec.json: a link"):
        Repository(str(tmp_path / "repository")).fetch(1, tmp_path / "private")


def test_other_folders_are_no_versions(sealed: Path, tmp_path: Path) -> None:
    """Folders with other names, and files, are passed over."""
    repository = Repository(str(tmp_path))
    repository.put(sealed, 1)
    for name in ("v2", "٣", "-1", ".1.unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).touch()
    (tmp_path / "4").touch()
    assert repository.versions() == [1]
