"""Bundles: what is intact opens, anything else is refused with its exact reason."""

import hashlib
import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import bundle as bundles
from model import sealed_files
from model.bundle import MANIFEST, BrokenBundle, open_bundle, seal
from tests.broken_bundles import BROKEN
from tests.evaluations import EVALUATION
from tests.fixtures.bundles import SPEC, make_world, reference, write_bundle

WORLD = make_world()
SECONDS = 5.0
"""Within which a verdict is there."""
ROOM_KIB = 96 * 1024
"""Memory that no refusal may take: far below what broken bundles claim, above numpy's noise."""


@pytest.fixture(scope="session")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody harms."""
    folder = tmp_path_factory.mktemp("intact") / "1"
    write_bundle(WORLD, folder)
    return folder


@pytest.fixture
def folder(intact: Path, tmp_path: Path) -> Path:
    """A copy of it to harm."""
    return Path(shutil.copytree(intact, tmp_path / "1"))


OF_REPOSITORIES = {"another version"}
"""A bundle alone does not know which version it should be."""


@pytest.mark.parametrize(
    "kind",
    [k for k, broken in BROKEN.items() if not broken.files_pass and k not in OF_REPOSITORIES],
)
def test_a_broken_bundle_is_refused_with_its_reason(folder: Path, kind: str) -> None:
    """Every damage is told exactly, soon, in little memory, and the folder stays as it was."""
    BROKEN[kind](folder)
    before = sorted(os.walk(folder.parent))
    started, held = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BrokenBundle, match=BROKEN[kind].reason):
        open_bundle(folder)
    assert time.monotonic() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < ROOM_KIB
    assert sorted(os.walk(folder.parent)) == before


@pytest.mark.parametrize("kind", [k for k, broken in BROKEN.items() if broken.files_pass])
def test_what_only_running_shows_passes_as_files(folder: Path, kind: str) -> None:
    """Wrong answers are no damage of files: these bundles open, and the golden check refuses."""
    BROKEN[kind](folder)
    open_bundle(folder)


def test_an_oversized_bundle_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle above the limit is refused by its size, before its files are read."""
    monkeypatch.setattr(sealed_files, "MAX_BUNDLE_BYTES", 1000)
    monkeypatch.setattr(sealed_files, "_hashed", lambda _: pytest.fail("read a file"))
    with pytest.raises(BrokenBundle, match="bytes, at most 1000 are accepted"):
        open_bundle(folder)


def test_a_folder_of_countless_files_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking into a folder ends, however much stands there."""
    monkeypatch.setattr(sealed_files, "MAX_FILES", 10)
    with pytest.raises(BrokenBundle, match="more than 10 files and folders"):
        open_bundle(folder)


def test_another_kind_of_file_is_refused(folder: Path) -> None:
    """A file that could run is refused by its kind, even where the manifest names it."""
    (folder / "model.pkl").write_bytes(b"x")
    (folder / MANIFEST).unlink()
    seal(folder, 1, WORLD.parts, {}, {})
    with pytest.raises(BrokenBundle, match=r"model.pkl: a bundle holds .onnx, .json, .npy and no"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["tables/user.npy", "reliability.onnx", "golden.json"])
def test_what_is_opened_is_what_was_hashed(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is exchanged after its hash was taken is noticed before anything serves."""

    def and_then_exchanged(*arguments: Any) -> Any:
        stamps = sealed_files.verify_files(*arguments)
        shutil.copy2(folder / name, folder.parent / "copy")
        (folder.parent / "copy").replace(folder / name)
        return stamps

    monkeypatch.setattr("model.bundle.verify_files", and_then_exchanged)
    with pytest.raises(BrokenBundle, match=f"{name}: changed while it was verified"):
        open_bundle(folder)


def test_an_intact_bundle_opens_as_written(intact: Path) -> None:
    """What was sealed is what opens: spec, catalogue, tables, priors, golden requests, graphs."""
    opened = open_bundle(intact)
    assert opened.spec == SPEC
    np.testing.assert_array_equal(opened.catalogue.keys, WORLD.catalogue.keys)
    np.testing.assert_array_equal(opened.tables.user, WORLD.tables.user)
    assert set(opened.prior_snapshot.records) == {(), (0,), (1,), (2,)}
    assert len(opened.golden) == 3
    assert opened.evaluation == EVALUATION
    assert opened.reference == reference(WORLD)
    assert set(opened.graphs) == set(bundles.GRAPHS)
    assert opened.manifest.feature_contract == WORLD.parts.contract
    assert opened.digest == hashlib.sha256((intact / MANIFEST).read_bytes()).hexdigest()


def test_every_flipped_bit_of_the_manifest_is_found_or_seen(folder: Path) -> None:
    """No flipped bit of the manifest passes unnoticed: it is refused, or the digest differs."""
    path, digest = folder / MANIFEST, open_bundle(folder).digest
    written = path.read_bytes()
    for position in range(0, 8 * len(written), 97):
        flipped = bytearray(written)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            assert open_bundle(folder).digest != digest
        except BrokenBundle:
            continue


def test_sealing_is_the_last_write_and_atomic(folder: Path, monkeypatch: Any) -> None:
    """A folder whose sealing was killed is no bundle, and sealing it again mends it."""
    (folder / MANIFEST).unlink()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        seal(folder, 1, WORLD.parts, {}, {})
    monkeypatch.undo()
    with pytest.raises(BrokenBundle, match=r"no manifest.json"):
        open_bundle(folder)
    seal(folder, 1, WORLD.parts, {}, {})
    open_bundle(folder)


def test_an_unsealable_version_leaves_no_manifest(folder: Path) -> None:
    """A wrong version is refused while sealing, not by the first who loads it."""
    (folder / MANIFEST).unlink()
    with pytest.raises(BrokenBundle, match="model_version 0"):
        seal(folder, 0, WORLD.parts, {}, {})
    assert not (folder / MANIFEST).exists()


def test_opening_pauses_after_every_piece_of_work(
    intact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever verifies a large bundle beside something urgent can let that go first."""
    counted: list[None] = []
    open_bundle(intact, lambda: counted.append(None))
    by_default = len(counted)
    assert by_default > len(WORLD.tables.arrays()) + len(list(intact.rglob("*.*")))
    monkeypatch.setattr("model.sealed_files.MIB", 64)
    open_bundle(intact, lambda: counted.append(None))
    smaller_pieces = len(counted) - by_default
    assert smaller_pieces > 2 * by_default
