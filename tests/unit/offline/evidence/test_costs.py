"""Costs: what a run will take is told from what runs like it took."""

import pytest

from offline.evidence.cells import Cell, panel, world
from offline.evidence.costs import OVERHEAD, UNKNOWN_S, Costs, told

KNOWN = Costs({("sim", "din"): [100.0, 200.0], ("sim", "choirrec"): [450.0]})


def test_a_cell_costs_what_its_method_cost_on_other_worlds() -> None:
    """Worlds are alike; a method without a measurement costs the mean of the others there."""
    assert KNOWN.known(Cell(world(7, "design"), "din", 3)) == 150
    assert KNOWN.known(Cell(world(7, "design"), "melt", 3)) == pytest.approx(250)
    assert KNOWN.known(Cell(panel("design"), "din", 3)) is None


def test_what_was_never_measured_is_told_as_a_guess() -> None:
    """The estimate says how many of its cells are guesses."""
    cells = [Cell(panel("design"), "din", 0), Cell(world(1, "design"), "din", 0)]
    assert KNOWN.total_s(cells) == UNKNOWN_S + 150
    assert "(1 of them a guess)" in told(KNOWN, cells, 2)
    assert "guess" not in told(KNOWN, cells[1:], 2)
    assert OVERHEAD > 1
