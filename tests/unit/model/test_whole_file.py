"""The whole file: readers never meet half of one."""

from pathlib import Path

import pytest

from model.whole_file import whole_file


def test_the_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    """Until the block ends the earlier file stands; then the new one does, alone."""
    path = tmp_path / "facts.json"
    path.write_text("earlier")
    with whole_file(path) as partial:
        partial.write_text("lat")
        assert path.read_text() == "earlier"
        partial.write_text("later")
    assert path.read_text() == "later"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_writer_changes_nothing(tmp_path: Path) -> None:
    """A writer that fails leaves the earlier file and nothing beside it."""
    path = tmp_path / "facts.json"
    path.write_text("earlier")
    with pytest.raises(UnicodeEncodeError), whole_file(path) as partial:
        partial.write_text("later\ud800", encoding="utf-8", newline="")
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    """A block that forgot to write does not make an empty file or lose the earlier one."""
    path = tmp_path / "facts.json"
    path.write_text("earlier")
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass
    assert path.read_text() == "earlier"


def test_what_a_killed_writer_left_is_overwritten(tmp_path: Path) -> None:
    """The next writer neither fails at the rest of a killed one nor keeps any of it."""
    (tmp_path / "facts.json.partial").write_text("half of a much longer text")
    with whole_file(tmp_path / "facts.json") as partial:
        partial.write_text("whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"facts.json": "whole"}
