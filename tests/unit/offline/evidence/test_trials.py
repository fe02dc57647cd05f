"""Trials: whoever chooses by validation rows leaves a line, and cannot choose on what confirms."""

import csv
from pathlib import Path

import pytest

from offline.evidence.cells import Bench, Source, world
from offline.evidence.trials import Trial, changed, try_out
from offline.presets import PRESETS
from offline.rules import ConfigError
from tests.fixtures.tiny_log import TINY_PRESET, write_log


@pytest.mark.slow
def test_every_look_leaves_a_line(tmp_path: Path) -> None:
    """Two trials are two lines, with what was changed and what came of it."""
    source = Source("tiny", "design", mapping=write_log(tmp_path / "log"))
    bench, ledger = Bench(tmp_path, TINY_PRESET.shortened()), tmp_path / "trials.csv"
    for rate in (0.01, 0.05):
        trial = Trial(source, "din_base", {"train.rate_start": rate}, "whether it learns faster")
        score = try_out(bench, trial, [0, 1], ledger)
        assert 0 <= score.mean <= 1
    with ledger.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["changed"] for row in rows] == [
        '{"train.rate_start": 0.01}',
        '{"train.rate_start": 0.05}',
    ]
    assert rows[1]["validation"] == f"{score.mean:.5f}"


def test_nothing_is_chosen_on_data_that_confirms(tmp_path: Path) -> None:
    """A trial on a confirmation world is refused before anything is generated."""
    trial = Trial(world(101, "confirmation"), "din", {}, "no")
    with pytest.raises(ConfigError, match="sim_101 is for confirmation"):
        try_out(Bench(tmp_path, TINY_PRESET), trial, [0], tmp_path / "trials.csv")
    assert not list(tmp_path.iterdir())


def test_values_are_changed_by_their_names() -> None:
    """Dotted names reach into the preset; everything else stays."""
    found = changed(PRESETS["paper"], {"train.rate_start": 0.02, "network.tower": [8, 4]})
    assert found.train.rate_start == 0.02
    assert found.network.tower == (8, 4)
    assert found.train.epochs == PRESETS["paper"].train.epochs


@pytest.mark.parametrize("name", ["train.rate", "nothing", "network.towers"])
def test_a_misspelt_value_is_refused(name: str) -> None:
    """An unknown name is an error that lists the known ones, not a trial of nothing."""
    with pytest.raises(ConfigError, match=f"no value '{name}'; known here: "):
        changed(PRESETS["paper"], {name: 1})
