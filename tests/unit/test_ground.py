"""The ground the project stands on: words, pins, documents, missing programs."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().split("\n") if "==" in line
)
BANNED = {"utils", "helpers", "common", "manager", "handler", "processor", "base", "data", "info"}
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "loadtests/*.md") for path in ROOT.glob(pattern)
)


def _modules() -> list[Path]:
    parts = ("model", "offline", "service", "loadtests", "tests", "tools")
    return [path.relative_to(ROOT) for part in parts for path in (ROOT / part).rglob("*.py")]


def test_help_lists_every_word_a_developer_needs() -> None:
    """`make` alone tells a newcomer every word, without installing anything."""
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = {line.split()[0] for line in shown.splitlines()}
    assert words >= set("demo test fast lint check fix proto eval bench-% clean help".split())


@pytest.mark.parametrize("word", ["demo", "test", "fast", "eval", "bench-codec"])
def test_every_word_runs_from_the_projects_own_environment(word: str) -> None:
    """No word depends on what happens to be installed on the machine."""
    plan = subprocess.run(
        ["make", "-n", word], cwd=ROOT, capture_output=True, text=True, check=True
    )
    started = re.findall(
        r"(?m)(?:^|[;&{(])\s*(\S*(?:pytest|mypy|ruff|choirrec-\w+|python3?)) ", plan.stdout
    )
    assert started
    assert all(program.startswith((".venv/bin/", "python3")) for program in started)


def test_final_check_is_a_program() -> None:
    """The final check can be started as it stands, and its shell reads it to the end."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_unknown_bench_names_the_known_ones() -> None:
    """A mistyped measurement ends at once and says what there is."""
    made = subprocess.run(
        ["make", "-o", ".venv/.installed", "bench-nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 2
    assert "there is no loadtests/bench_nonsense.py" in made.stdout + made.stderr


@pytest.mark.parametrize("command", ["false", "false && true", "true && false"])
def test_failing_step_fails_its_word(command: str) -> None:
    """No check passes because a later one did."""
    probe = f"probe: ; $(call step,probing,{command})"
    made = subprocess.run(
        ["make", "--eval", probe, "probe"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 2
    assert "done in" not in made.stdout


def test_every_requirement_is_pinned_inside_its_bounds() -> None:
    """Two clones of one commit install the same versions of everything they name."""
    wanted = list(PROJECT["dependencies"])
    wanted += [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
    for requirement in map(Requirement, wanted):
        pin = PINS.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not in constraints.txt"
        assert pin in requirement.specifier, f"{requirement} excludes the pin {pin}"


def test_pins_are_exact_and_leave_the_build_of_torch_open() -> None:
    """A pin names one released version: no file of this machine, no build of one kind of chip."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line]
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", pin)] == []
    assert PINS["torch"] == "2.13.0"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """No reader of the documents is sent to a file that is not there."""
    targets = re.findall(r"\]\((?!\w+:)([^)#\s]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    """Every file is named by its one noun."""
    stems = {part.removesuffix(".py") for path in _modules() for part in path.parts}
    assert stems & BANNED == set()


def _run_with_missing_program(folder: Path, **environment: str) -> str:
    """Closing lines of a test run on a machine without the program its test needs."""
    (folder / "conftest.py").write_text(
        "from tests import programs\n"
        "programs.DEBIAN_PACKAGES['no-such-program'] = 'no-such-package'\n"
    )
    (folder / "test_it.py").write_text(
        "import pytest\n@pytest.mark.needs('no-such-program')\ndef test_it(): pass\n"
    )
    settings = f"--config-file={ROOT / 'pyproject.toml'}"
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", settings, f"--rootdir={folder}"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout


def test_missing_program_is_listed_by_name(tmp_path: Path) -> None:
    """Whoever lacks a system program reads its name and how many tests it cost."""
    out = _run_with_missing_program(tmp_path, REQUIRE_ALL="0")
    assert "no-such-program is missing: 1 tests were skipped" in out
    assert "1 skipped" in out


def test_missing_program_fails_where_all_are_required(tmp_path: Path) -> None:
    """The final check never passes because something could not be tried."""
    out = _run_with_missing_program(tmp_path, REQUIRE_ALL="1")
    assert "needs the system program no-such-program (Debian package no-such-package)" in out
    assert "1 failed" in out or "1 error" in out
