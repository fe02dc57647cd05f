"""Canonical tables of others: taken over as they are, with the truth they bring."""

from pathlib import Path

import pytest

from offline.datasets import canonical, simulator
from offline.rules import ConfigError
from offline.sources import canonical as source


def test_tables_are_taken_over_with_their_truth(tmp_path: Path) -> None:
    """The rows and the truth of a simulated world come through another folder unchanged."""
    given = simulator.build(tmp_path / "given", 1, 200)
    taken = canonical.build(given.folder, tmp_path / "taken")
    assert taken.schema == given.schema
    for name in canonical.NAMES:
        assert getattr(taken, name)().equals(getattr(given, name)()), name
    for path in (given.folder / "truth").iterdir():
        assert (taken.folder / "truth" / path.name).read_bytes() == path.read_bytes()


def test_a_changed_file_is_another_data_set(tmp_path: Path) -> None:
    """What the tables hold decides which artefacts are found, not what the folder is called."""
    given = simulator.build(tmp_path / "given", 1, 200)
    before = source(given.folder).settings
    assert source(given.folder).settings == before
    (given.folder / "truth" / "world.json").write_text("{}")
    assert source(given.folder).settings != before


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    """The message says what was not found."""
    with pytest.raises(ConfigError, match="holds no canonical tables"):
        source(tmp_path)
