"""Costs: how long cells will take, by what others like them took."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline.evidence.cells import Cell
from offline.evidence.results import Results

UNKNOWN_S = 120.0
"""CPU seconds of a cell when nothing like it was ever measured: a guess, and told as one."""
OVERHEAD = 1.25
"""Of reading, predicting and measuring, over training alone."""


@dataclass
class Costs:
    """CPU seconds of measured cells."""

    by_method: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By kind of data set and method."""

    @classmethod
    def of(cls, results: Results, preset: str) -> "Costs":
        """What the results of a preset tell."""
        costs = cls()
        costs.add(results.rows.filter(pc.field("preset") == preset))
        return costs

    def add(self, rows: pa.Table) -> None:
        """Learn from further cells' rows."""
        cells = rows.group_by(["dataset", "method", "seed", "world"]).aggregate([("cpu_s", "max")])
        for row in cells.to_pylist():
            key = (_kind(row["dataset"], row["world"]), row["method"])
            self.by_method.setdefault(key, []).append(row["cpu_s_max"] * OVERHEAD)

    def known(self, cell: Cell) -> float | None:
        """CPU seconds of a cell like this one; None when there was none."""
        kind = _kind(cell.source.name, cell.source.world)
        if (kind, cell.method) in self.by_method:
            return float(np.mean(self.by_method[kind, cell.method]))
        same = [
            value for (of, _), values in self.by_method.items() if of == kind for value in values
        ]
        return float(np.mean(same)) if same else None

    def total_s(self, cells: Sequence[Cell]) -> float:
        """CPU seconds of all."""
        return sum(UNKNOWN_S if (s := self.known(cell)) is None else s for cell in cells)

    def left(self, cells: Sequence[Cell], workers: int) -> str:
        """How long the rest will take."""
        return f"about {_span(self.total_s(cells) / workers)} left" if cells else "all done"


def told(costs: Costs, cells: Sequence[Cell], workers: int) -> str:
    """What is about to be done, before it is."""
    guessed = sum(costs.known(cell) is None for cell in cells)
    doubt = f" ({guessed} of them a guess)" if guessed else ""
    return (
        f"{len(cells)} cells on {workers} workers, those not in the store at about "
        f"{_span(costs.total_s(cells) / workers)} in all{doubt}"
    )


def _kind(dataset: str, world: int | None) -> str:
    return dataset if world is None else dataset.removesuffix(f"_{world}")


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
