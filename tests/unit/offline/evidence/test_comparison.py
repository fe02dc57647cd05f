"""The comparison: a file that others write must be read exactly or refused in words."""

from pathlib import Path

import pytest

from offline.evidence.comparison import compared_cells, load_comparison
from offline.evidence.layout import LAYOUT
from offline.rules import ConfigError

GOOD = """
seeds = 2

[[data]]
name = "ours"
mapping = "log/mapping.toml"

[[data]]
name = "sim_7"
world = 7
users = 900
"""


def written(folder: Path, text: str) -> Path:
    """A file with a text."""
    path = folder / "my.toml"
    path.write_text(text)
    return path


def test_a_file_names_data_and_gets_the_whole_comparison(tmp_path: Path) -> None:
    """Without methods named, it is ChoirRec with every control and baseline, on all data."""
    path = written(tmp_path, GOOD)
    found = compared_cells(load_comparison(path), path.parent)
    assert {cell.method for cell in found} == {LAYOUT.subject, *LAYOUT.compared}
    assert {cell.source.name for cell in found} == {"ours", "sim_7"}
    assert {cell.seed for cell in found} == {0, 1}
    ours = next(cell.source for cell in found if cell.source.name == "ours")
    assert ours.mapping == tmp_path / "log" / "mapping.toml"
    assert ours.role == "confirmation"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("seeds = 2", "seed = 2"), "seed"),
        (GOOD.replace("seeds = 2", "seeds = 0"), "0 seeds on 2 data sets"),
        (GOOD.replace("seeds = 2", 'methods = ["dni"]'), "no method 'dni'; known: core"),
        (GOOD.replace("seeds = 2", 'preset = "big"'), "no preset 'big'; known: demo"),
        (GOOD.replace("world = 7", 'world = 7\nwindow = "design"'), "expected exactly one of"),
        (GOOD.replace('"sim_7"', '"ours"'), "names that differ"),
        ("data = []", "on 0 data sets"),
        ("data = [", "my.toml"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    """Misspelt keys, unknown names and contradictions are named, with what was expected."""
    with pytest.raises(ConfigError, match=said):
        load_comparison(written(tmp_path, text))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(ConfigError, match=r"cannot read the comparison .*nowhere\.toml"):
        load_comparison(tmp_path / "nowhere.toml")
