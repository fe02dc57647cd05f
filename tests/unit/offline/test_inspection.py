"""Inspection: the commands ``groups report`` and ``groups diff`` on a log of one's own."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from offline.__main__ import main
from tests.fixtures.llm_server import running_llm_server
from tests.fixtures.tiny_log import write_log


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a log and its report."""
    folder = tmp_path_factory.mktemp("inspection")
    write_log(folder / "log")
    assert report(folder, "groups.html") == 0
    return folder


def report(root: Path, name: str, *more: str) -> int:
    """Write the report of the log."""
    mapping = str(root / "log" / "mapping.toml")
    where = ["--root", str(root / "var"), "--mapping", mapping, "--preset", "demo"]
    return main(["groups", "report", *where, "--out", str(root / name), *more])


def groups(root: Path) -> list[Path]:
    """The groups by the sizing rule: of the fitted cut first, then of the one that serves."""
    found = [path.parent for path in (root / "var/artefacts/groups").glob("*/codebooks.npy")]
    by_rule = [folder for folder in found if seal(folder)["settings"]["codes"] is None]
    return sorted(by_rule, key=lambda folder: "groups" in seal(folder)["inputs"])


def seal(folder: Path) -> dict[str, dict[str, str | None]]:
    """What an artefact says of itself."""
    told: dict[str, dict[str, str | None]] = json.loads((folder / "artefact.json").read_text())
    return told


def test_a_report_holds_every_figure(root: Path) -> None:
    """Levels, sizes, consistency, stability, drift and cards of the log's groups are there."""
    text = (root / "groups.html").read_text()
    for expected in ("tiny-shop", "template-1", "age_band", "seed 1", "the cut that serves"):
        assert expected in text
    assert text.count('class="card"') >= 4
    assert "the earlier run" not in text
    assert not re.search(r"customer-\d", text)


def test_a_report_repeats_to_the_byte(root: Path) -> None:
    """The same log and the same code give the same page."""
    assert report(root, "again.html") == 0
    assert (root / "again.html").read_bytes() == (root / "groups.html").read_bytes()


def test_the_report_says_which_folder_its_groups_lie_in(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders are named by digests: what ``diff`` and ``--against`` want is told by cut."""
    assert report(root, "again.html") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "for diff" in line]
    fitted, serving = groups(root)
    assert told == [
        f"their folder at the training cut, for diff and --against: {fitted}",
        f"their folder at the serving cut, for diff and --against: {serving}",
    ]


def test_the_earlier_run_is_compared(root: Path) -> None:
    """With ``--against`` the page says how many users have moved since then."""
    earlier, _ = groups(root)
    assert report(root, "against.html", "--against", str(earlier)) == 0
    text = (root / "against.html").read_text()
    (row,) = re.findall(r"the earlier run</th>(.*?)</tr>", text)
    assert re.findall(r">([\d.]+)</td>", row)[-3:] == ["1.00"] * 3


def test_groups_may_be_described_by_a_language_model(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--card-writer`` names the groups anew, the page says who did, and keeps the answers."""
    with running_llm_server() as server:
        for name, text in (("BASE_URL", server.base_url), ("MODEL", "big"), ("REVISION", "7")):
            monkeypatch.setenv(f"CHOIRREC_LLM_{name}", text)
        assert report(root, "written.html", "--card-writer", "openai") == 0
        asked = len(server.calls())
        assert report(root, "written.html", "--card-writer", "openai") == 0
        assert len(server.calls()) == asked > 0
    text = (root / "written.html").read_text()
    assert "profiles by\ntemplate" in text
    assert "names and summaries of groups by openai, big, 7, group-1:" in text
    assert text.count("a language model, by the writer openai.") >= 4
    assert "people of kind" in text


def test_a_folder_without_groups_ends_with_2(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong ``--against`` is said in words, and no page is written."""
    assert report(root, "wrong.html", "--against", str(root / "log")) == 2
    assert "holds no groups" in capsys.readouterr().err
    assert not (root / "wrong.html").exists()
    assert main(["groups", "diff", str(root / "log"), str(root / "log")]) == 2


def test_two_cuts_are_compared_by_frozen_codebooks(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``groups diff`` of the fitted and the serving cut names one set of codebooks."""
    fitted, serving = groups(root)
    assert main(["groups", "diff", str(fitted), str(serving)]) == 0
    said = capsys.readouterr().out
    assert "by the same codebooks" in said
    assert "depth 3:" in said


def test_the_number_of_codes_may_be_given(root: Path) -> None:
    """``--codes`` takes the place of the sizing rule."""
    assert report(root, "five.html", "--codes", "5") == 0
    text = (root / "five.html").read_text()
    assert re.search(r"Codes per level</th><td[^>]*>5</td>", text)


def test_groups_carry_their_reference_and_their_drift(root: Path) -> None:
    """Both cuts hold the fitted cut's reference; the fitted one has drifted from nothing."""
    fitted, serving = groups(root)
    name = "residual_quantiles.npy"
    assert (fitted / name).read_bytes() == (serving / name).read_bytes()
    drift = json.loads((fitted / "diagnostics.json").read_text())["drift"]
    assert drift["mean_confidence"] == pytest.approx(0.5, abs=0.02)
    assert not drift["refit"]
    assert not (fitted / "checkpoints").exists()
    assert len(np.load(serving / "users.npy")) == len(np.load(serving / "codes.npy"))
