"""The commands about bundles: what an operator reads before a version may serve."""

import json
import shutil
from pathlib import Path

import pytest

from model.bundle import Bundle
from offline.__main__ import main
from tests.broken_bundles import BROKEN
from tests.fixtures.bundles import make_world, write_bundle


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of versions 1 and 2, 3 whose contract differs, and 4 that is broken."""
    root = tmp_path_factory.mktemp("root")
    for version, encoder in ((1, "encoder"), (2, "encoder"), (3, "another"), (4, "encoder")):
        write_bundle(make_world(version, encoder), root / "repository" / str(version))
    BROKEN["wrong golden"](root / "repository" / "4")
    return root


def run(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> tuple[int, str, str]:
    """Run ``choirrec-offline bundle``: its exit code, what it printed, and its errors."""
    code = main(["bundle", *words, "--root", str(root)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_inspect_tells_what_a_version_is(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    """Contract, sizes, data, figures by level and gains stand on one page, for people."""
    code, told, _ = run(capsys, root, "inspect", "1")
    assert code == 0
    for words in (
        "model version 1",
        make_world(1).parts.contract,
        "40 items, 64 user rows, 2 levels of 3 codes",
        "4 priors of at-export, as of 2023-11-14 22:13 UTC",
        "3 requests; within 1e-05 on CPUExecutionProvider",
        "Figures on made-up (design), 2024-01-01T00:00:00 to 2024-01-08T00:00:00, seed 0",
        "over DIN + activity: low-activity users +1.00% (-2.00% to +4.00%), all users not measured",
        "over ChoirRec, permuted: low-activity users not measured, all users not measured",
    ):
        assert words in told
    assert "level 5" in told
    assert " - " in told.split("level 5")[1].split("\n")[0]


def test_inspect_speaks_to_programs(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    """The same facts come as JSON, sizes as they are on the disk."""
    _, told, _ = run(capsys, root, "inspect", "1", "--json")
    facts = json.loads(told)
    folder = root / "repository" / "1"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(facts["sizes_bytes"].values()) == sum(path.stat().st_size for path in files)
    assert facts["files"] == len(files)
    assert facts["reference"]["score"]["1"]["values"] == 120


def test_a_folder_is_inspected_as_a_version_is(
    capsys: pytest.CaptureFixture[str], root: Path, bundle: Bundle
) -> None:
    """A bundle that is in no repository, as export wrote it, can be looked at where it stands."""
    code, told, _ = run(capsys, root, "inspect", str(bundle.folder))
    assert (code, told.split("\n")[0]) == (0, "model version 1")
    assert run(capsys, root, "verify", str(bundle.folder))[0] == 0


def test_verify_says_whether_a_version_would_serve(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    """A whole version is told with its digest, a broken one by its reason and exit code 1."""
    code, told, _ = run(capsys, root, "verify", "1")
    assert (code, told.startswith("model version 1 is whole: ")) == (0, True)
    code, told, reason = run(capsys, root, "verify", "4")
    assert (code, told) == (1, "")
    assert "model version 4: golden request 0: candidate 0: alpha_fusion" in reason


def test_what_is_not_there_is_bad_input(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    """A version or a folder that does not exist is told as such, by exit code 2."""
    code, _, reason = run(capsys, root, "verify", "9")
    assert (code, "model version 9 is not in" in reason) == (2, True)
    code, _, reason = run(capsys, root, "inspect", "nowhere")
    assert (code, "nowhere: expected a version's number or the folder" in reason) == (2, True)


def test_diff_tells_what_changed(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    """Of two models of one contract: that records fit both, tables, figures, answers."""
    code, told, _ = run(capsys, root, "diff", "1", "2")
    assert code == 0
    for words in (
        "from version 1 to version 2",
        "one feature contract: any generation that serves one of them serves the other",
        "items: 40 in both, 0 more, 0 fewer",
        "golden requests of the old, answered by the new, differ at most by: individual_logit",
    ):
        assert words in told
    _, told, _ = run(capsys, root, "diff", "1", "2", "--json")
    changes = json.loads(told)
    assert changes["tables"]["user"]["rows"] == 64
    assert changes["tables"]["user"]["largest"] > 0
    assert changes["golden"]["individual_logit"] > 1e-3


def test_diff_warns_of_another_contract(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    """Where no generation serves both, the part that differs is named, and what to do."""
    _, told, _ = run(capsys, root, "diff", "1", "3")
    assert "feature contracts differ in encoder: no generation serves both; publish one" in told
    assert "golden requests: not compared" in told


def test_diff_knows_equal_bundles(
    capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    """A copy of a version is one and the same bundle."""
    shutil.copytree(root / "repository" / "1", tmp_path / "copy")
    _, told, _ = run(capsys, root, "diff", "1", str(tmp_path / "copy"))
    assert told == "version 1 and version 1 are one and the same bundle, byte for byte\n"


def test_diff_matches_rows_by_what_they_stand_for(
    capsys: pytest.CaptureFixture[str], root: Path, bundle: Bundle
) -> None:
    """Bundles of other vocabularies, items and shapes are compared as far as they can be."""
    code, told, _ = run(capsys, root, "diff", "1", str(bundle.folder), "--json")
    changes = json.loads(told)
    assert code == 0
    assert changes["items"]["both"] == 0
    assert changes["spec"]["levels"] == [2, 3]
    assert changes["vocabularies"]["attributes.age"] == {"added": 4, "removed": 3}
    assert changes["tables"]["user"]["largest"] is None
    run(capsys, root, "diff", "1", str(bundle.folder))
