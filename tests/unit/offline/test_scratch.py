"""The scratch folder: gone with its block, and with the next one after a kill."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offline.scratch import PREFIX, scratch_folder

HOLD = """
import sys
from {module} import {name} as opened
with opened({argument}):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, empty."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@contextmanager
def holder(module: str, name: str, argument: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Another process inside such a block."""
    program = HOLD.format(module=module, name=name, argument=argument)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_a_block_leaves_nothing(temporary: Path) -> None:
    """The folder is there for the block and goes with all that is in it, also when it fails."""
    with scratch_folder("one") as folder:
        assert folder.parent == temporary
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()
    with pytest.raises(RuntimeError), scratch_folder("two"):
        raise RuntimeError
    assert list(temporary.iterdir()) == []


def test_the_next_block_clears_what_a_kill_left(temporary: Path) -> None:
    """A killed process leaves its folder to the next one; a folder in use is not touched."""
    with holder("offline.scratch", "scratch_folder", "'killed'") as killed:
        (left,) = temporary.iterdir()
        (left / "spilled").write_text("rows")
        with scratch_folder("mine"):
            assert (left / "spilled").exists()
        killed.kill()
        killed.wait()
        assert left.exists()
        with scratch_folder("mine"):
            assert not left.exists()
    assert list(temporary.iterdir()) == []


def test_a_killed_engine_leaves_nothing_that_the_next_does_not_clear(temporary: Path) -> None:
    """Tables that a killed build had spilled to disk are gone once the engine starts again."""
    with holder("offline.engine", "connect") as killed:
        assert len(list(temporary.iterdir())) == 1
        killed.kill()
        killed.wait()
    with holder("offline.engine", "connect"):
        assert len(list(temporary.iterdir())) == 1


def test_what_is_not_a_scratch_folder_stays(temporary: Path) -> None:
    """Other folders, links and files of a like name are nobody's to remove."""
    (temporary / "precious").mkdir()
    (temporary / "precious" / "file").touch()
    (temporary / f"{PREFIX}link").symlink_to(temporary / "precious")
    (temporary / f"{PREFIX}file").touch()
    with scratch_folder("mine"):
        pass
    assert len(list(temporary.iterdir())) == 3
    assert (temporary / "precious" / "file").exists()
