"""Bundles: what is intact opens, anything else is refused with its exact reason."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import bundle as bundles
from model.bundle import (
    MANIFEST,
    BrokenBundle,
    ContractParts,
    Manifest,
    file_digest,
    open_bundle,
    safe_name,
    seal,
)
from model.encoder import EncoderBlock
from model.evaluation import EVALUATION_FILE, REPORT_FILE
from tests.evaluations import EVALUATION
from tests.fixtures.bundles import SPEC, make_world, write_bundle

WORLD = make_world()
Harm = Callable[[Path], object]


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


def reseal(folder: Path) -> None:
    """Seal again, so that the hashes are right and only the content is wrong."""
    (folder / MANIFEST).unlink()
    seal(folder, 1, WORLD.parts, {}, {})


def edit_manifest(**fields: Any) -> Harm:
    """Replace members of the manifest."""

    def harm(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | fields))

    return harm


def edit_files(**names: str | None) -> Harm:
    """Name further files in the manifest, or (None) leave named ones out."""

    def harm(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["files"] |= names
        kept = {name: digest for name, digest in manifest["files"].items() if digest is not None}
        edit_manifest(files=kept)(folder)

    return harm


def edit_array(name: str, edit: Callable[[Any], Any]) -> Harm:
    """Change an array and seal again."""

    def harm(folder: Path) -> None:
        array = edit(np.load(folder / name))
        np.save(folder / name, array, allow_pickle=True)
        reseal(folder)

    return harm


def edit_text(name: str, edit: Callable[[str], str]) -> Harm:
    """Change a text file and seal again."""

    def harm(folder: Path) -> None:
        (folder / name).write_text(edit((folder / name).read_text()))
        reseal(folder)

    return harm


def flip_bit(folder: Path) -> None:
    """Flip one bit in the middle of a table."""
    path = folder / "tables" / "user.npy"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(folder: Path) -> None:
    """Cut a graph in half."""
    path = folder / "group_channel.onnx"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link_file(folder: Path) -> None:
    """Replace a file by a link to an equal file elsewhere."""
    path = folder / "spec.json"
    path.rename(folder.parent / "spec.json")
    path.symlink_to(folder.parent / "spec.json")


def link_folder(folder: Path) -> None:
    """Replace a folder by a link to an equal one elsewhere."""
    (folder / "tables").rename(folder.parent / "tables")
    (folder / "tables").symlink_to(folder.parent / "tables")


def without_graph(folder: Path) -> None:
    """Seal a bundle that has two graphs only."""
    (folder / "reliability.onnx").unlink()
    reseal(folder)


def without_report(folder: Path) -> None:
    """Seal a bundle that nobody reported on."""
    (folder / REPORT_FILE).unlink()
    reseal(folder)


def empty_table(folder: Path) -> None:
    """Seal a bundle with a table of no bytes."""
    (folder / "tables" / "user.npy").write_bytes(b"")
    reseal(folder)


def other_schema(folder: Path) -> None:
    """Seal a bundle of another record schema."""
    (folder / MANIFEST).unlink()
    seal(folder, 1, replace(WORLD.parts, schema="0"), {}, {})


def pipe(folder: Path) -> None:
    """Replace a file by a pipe that nobody ever writes into."""
    (folder / "spec.json").unlink()
    os.mkfifo(folder / "spec.json")


def link_manifest(folder: Path) -> None:
    """Replace the manifest by a link."""
    (folder / MANIFEST).rename(folder.parent / MANIFEST)
    (folder / MANIFEST).symlink_to(folder.parent / MANIFEST)


def other_encoder(folder: Path) -> None:
    """Put another encoder block into the folder."""
    block = EncoderBlock("1", "another", ("a", "b"), (1.0, 1.0), np.zeros((2, 4), np.float32))
    block.save(folder / "encoder")
    reseal(folder)


def unsorted(keys: Any) -> Any:
    """The keys with the first two swapped."""
    return np.concatenate([keys[1::-1], keys[2:]])


def other_records(text: str) -> str:
    """Golden requests with the records of a user who has no attribute at all."""
    goldens = json.loads(text)
    from_snapshot = goldens[0]
    from_snapshot["user"] = goldens[0]["group"]
    return json.dumps(goldens)


BROKEN: dict[str, tuple[Harm, str]] = {
    "no manifest": (lambda f: (f / MANIFEST).unlink(), r"no manifest.json; the bundle is unfin"),
    "manifest is no JSON": (lambda f: (f / MANIFEST).write_text("{"), "not a bundle manifest"),
    "manifest is a list": (lambda f: (f / MANIFEST).write_text("[]"), "not a bundle manifest"),
    "manifest is deep": (lambda f: (f / MANIFEST).write_text("[" * 9**6), "not a bundle manifest"),
    "manifest is binary": (lambda f: (f / MANIFEST).write_bytes(b"\xff" * 9), "not a bundle mani"),
    "manifest is a link": (link_manifest, "no manifest.json"),
    "manifest has a surplus": (edit_manifest(surplus=1), "unexpected keyword.*surplus"),
    "an older format": (
        edit_manifest(format=1),
        "format 1, this build reads 2; .* export it again",
    ),
    "a newer format": (edit_manifest(format=3), "format 3, this build reads 2"),
    "version is a text": (edit_manifest(model_version="1"), "model_version '1', expected a pos"),
    "version is true": (edit_manifest(model_version=True), "model_version True, expected a pos"),
    "version is zero": (edit_manifest(model_version=0), "model_version 0, expected a positive"),
    "no files": (edit_manifest(files={}), "names no files"),
    "files is a text": (edit_manifest(files="all"), "names no files"),
    "flipped bit": (flip_bit, "tables/user.npy: SHA-256 differs"),
    "truncated": (truncate, "group_channel.onnx: SHA-256 differs"),
    "digest is a number": (edit_files(**{"spec.json": 3}), "spec.json: SHA-256 differs"),  # type: ignore[arg-type]
    "missing file": (lambda f: (f / "golden.json").unlink(), "missing files: golden.json"),
    "extra file": (lambda f: (f / "notes.txt").write_text("x"), "does not name: notes.txt"),
    "left-over manifest": (lambda f: (f / "manifest.json.tmp").touch(), "not name: manifest.json"),
    "graph not named": (edit_files(**{"reliability.onnx": None}), "name: reliability.onnx"),
    "no graph at all": (
        without_graph,
        "missing files: reliability.onnx",
    ),
    "linked file": (link_file, "spec.json: cannot be opened as a plain file"),
    "linked folder": (link_folder, "missing files: tables/"),
    "pipe": (pipe, "spec.json: not a regular file"),
    "traversal": (edit_files(**{"../1/spec.json": "0"}), r"'\.\./1/spec.json' leaves the bundle"),
    "absolute name": (edit_files(**{"/etc/hostname": "0"}), "'/etc/hostname' leaves the bundle"),
    "name is not canonical": (edit_files(**{"./spec.json": "0"}), "not canonical"),
    "contract of another": (
        edit_manifest(feature_contract="0" * 64),
        "feature_contract does not follow from its parts",
    ),
    "digest of the schema is a number": (
        edit_manifest(parts={"schema": 3, "encoder": "e", "codebooks": "c", "spec": "s"}),
        "manifest.json: parts.schema 3, expected a digest as text",
    ),
    "another schema": (
        other_schema,
        "record schema 0, this build speaks",
    ),
    "another spec": (
        edit_text("spec.json", lambda text: text.replace('"n_min":2', '"n_min":3')),
        "spec.json has digest",
    ),
    "another encoder": (other_encoder, "encoder/encoder.json has digest"),
    "other codebooks": (
        edit_array("encoder/codebooks.npy", lambda array: array + 1),
        "encoder/codebooks.npy has digest",
    ),
    "spec is no JSON": (edit_text("spec.json", lambda _: "{"), "spec.json: JSONDecodeError"),
    "unsorted keys": (edit_array("catalogue/item_keys.npy", unsorted), "must strictly increase"),
    "repeated key": (
        edit_array("catalogue/item_keys.npy", lambda keys: np.sort([keys[0], *keys[:-1]])),
        "must strictly increase",
    ),
    "keys of another type": (
        edit_array("catalogue/item_keys.npy", lambda keys: keys.astype(np.int64)),
        "int64 in 1-d, expected uint64 in 1-d",
    ),
    "codes of another shape": (
        edit_array("catalogue/item_codes.npy", lambda codes: codes[:, :-1]),
        r"item_codes.npy: shape .* does not fit the spec",
    ),
    "codes outside": (
        edit_array("catalogue/item_codes.npy", lambda codes: codes + 90),
        "codes outside the spec's vocabularies",
    ),
    "NaN in a table": (
        edit_array("tables/ages.npy", lambda table: table * np.float32(np.nan)),
        "tables/ages.npy: holds NaN or infinity",
    ),
    "table of another shape": (
        edit_array("tables/user.npy", lambda table: table[:-1]),
        r"tables/user.npy: float32 \(63, 4\), expected float32 \[64, any\]",
    ),
    "pickled table": (
        edit_array("tables/user.npy", lambda _: np.array([{}], object)),
        "tables/user.npy: no array can be read",
    ),
    "pickled keys": (
        edit_array("catalogue/item_keys.npy", lambda _: np.array([{}], object)),
        "item_keys.npy: no array can be read",
    ),
    "pickled codebooks": (
        edit_array("encoder/codebooks.npy", lambda _: np.array([{}], object)),
        "encoder: ValueError: .*codebooks.npy: no array can be read from it",
    ),
    "empty table": (
        empty_table,
        "tables/user.npy: no array can be read",
    ),
    "no golden requests": (edit_text("golden.json", lambda _: "[]"), "golden.json holds no req"),
    "golden is no JSON": (edit_text("golden.json", lambda _: "x"), "golden.json: JSONDecodeError"),
    "golden record damaged": (edit_text("golden.json", other_records), "golden.json: .*request 0"),
    "golden of no hour": (
        edit_text("golden.json", lambda text: text.replace('"hour": 13', '"hour": 77')),
        "golden.json: .*request 0: hour 77, expected",
    ),
    "snapshot of no moment": (
        edit_text("prior_snapshot.json", lambda text: re.sub(r'(as_of_s": )\d+', r'\1"x"', text)),
        "prior_snapshot.json: .*as_of_s 'x', expected a whole number",
    ),
    "tolerance that tolerates all": (
        edit_manifest(tolerances={"CPUExecutionProvider": 1e9}),
        "manifest.json: tolerance of CPUExecutionProvider: 1000000000.0, expected .* at most 0.001",
    ),
    "tolerance of zero": (edit_manifest(tolerances={"CPU": 0}), "tolerance of CPU: 0, expected"),
    "tolerance is a text": (edit_manifest(tolerances={"CPU": "1"}), "tolerance of CPU: '1', exp"),
    "tolerance is true": (edit_manifest(tolerances={"CPU": True}), "tolerance of CPU: True, exp"),
    "tolerance is NaN": (edit_manifest(tolerances={"CPU": np.nan}), "tolerance of CPU: nan, exp"),
    "tolerances is a number": (edit_manifest(tolerances=1e-5), "tolerances 1e-05, expected an obj"),
    "evaluation is no JSON": (edit_text(EVALUATION_FILE, lambda _: "{"), "no evaluation of this"),
    "evaluation of no user": (
        edit_text(EVALUATION_FILE, lambda text: text.replace('"users": 7', '"users": null', 1)),
        "evaluation.json: .*: segments.level_1.users None, expected a whole number",
    ),
    "no report": (without_report, "missing files: evaluation.html"),
    "an endless report": (
        edit_text(REPORT_FILE, lambda text: text * 10**5),
        "evaluation.html: 4[0-9]{6} bytes, at most 4194304 are accepted",
    ),
    "no global prior": (
        edit_text("prior_snapshot.json", lambda _: '{"generation":"g","as_of_s":1,"records":{}}'),
        "holds no global prior",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_bundle_is_refused_with_its_reason(folder: Path, kind: str) -> None:
    """Every kind of damage is told exactly, and looking at it changes nothing in the folder."""
    harm, reason = BROKEN[kind]
    harm(folder)
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(BrokenBundle, match=reason):
        open_bundle(folder)
    assert sorted(folder.parent.rglob("*")) == before


def test_an_oversized_bundle_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle above the limit is refused by its size, before its files are read."""
    monkeypatch.setattr(bundles, "MAX_BUNDLE_BYTES", 1000)
    monkeypatch.setattr(bundles, "file_digest", lambda _: pytest.fail("read a file"))
    with pytest.raises(BrokenBundle, match="bytes, at most 1000 are accepted"):
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


def test_the_manifest_is_read_back() -> None:
    """A manifest survives its JSON, tolerances included."""
    parts = ContractParts("a", "b", "c", "d")
    manifest = Manifest(3, parts.contract, parts, {"x": "0"}, {"seed": 1}, {"auc_low": 0.5})
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.tolerances["CPUExecutionProvider"] == 1e-5


@pytest.mark.parametrize("name", ["", "/x", "../x", "a/../../x", "a//b", "./a", "a/", "a\\b", ".."])
def test_unsafe_names_are_refused(name: str) -> None:
    """No name leads out of a bundle, on any system."""
    with pytest.raises(BrokenBundle, match=re.escape(repr(name))):
        safe_name(name)


def test_safe_names_pass() -> None:
    """Plain relative names pass unchanged."""
    for name in ("a", "a/b.npy", "a..b", "..a"):
        assert safe_name(name) == name


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    """File digests are plain SHA-256, so that operators can check them with sha256sum."""
    (tmp_path / "x").write_bytes(b"abc" * 10**6)
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"abc" * 10**6).hexdigest()
