"""Findings: the tables of all studies, and what they lack."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from offline.evidence.layout import LAYOUT, Layout
from offline.evidence.results import CELL, Results
from offline.evidence.study import studies
from offline.evidence.tables import StudyTables
from offline.evidence.tabulator import Tabulator

Cell = tuple[str, str, str, int]
"""Data set, method, preset, seed."""


@dataclass(frozen=True)
class Findings:
    """Everything that the report shows."""

    studies: tuple[StudyTables, ...]
    finished: int
    """Cells."""
    unfinished: tuple[Cell, ...]
    """Cells that were planned and have no result."""
    quick: bool
    """Whether this was a look at the whole way: it makes no claim."""
    cpu_s: float
    """CPU seconds of all finished cells."""
    digests: Mapping[str, tuple[str, ...]]
    """What the cells were made by: digests of config, code and data."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """By data set: where it comes from, quoted beside its figures."""

    def to_json(self) -> str:
        """All tables as JSON with sorted keys; NaN and infinities as null."""
        return json.dumps(_plain(asdict(self)), indent=1, sort_keys=True) + "\n"


def find(
    results: Results,
    planned: Iterable[Cell] = (),
    titles: Mapping[str, str] | None = None,
    provenance: Mapping[str, str] | None = None,
    layout: Layout = LAYOUT,
    quick: bool = False,
) -> Findings:
    """Compute all tables from the finished cells.

    Args:
        results: the finished cells.
        planned: all cells that were to be run.
        titles: what methods are called in tables; others go by their names.
        provenance: by data set, text to quote beside its figures.
        layout: which methods make which table.
        quick: whether the run was for a look alone.

    Returns:
        The findings.

    Raises:
        UnevenCells: when cells of one data set were measured on different users.
    """
    rows = results.rows
    named = rows.group_by(list(CELL)).aggregate([("cpu_s", "max")]).to_pylist()
    done = {tuple(row[name] for name in CELL) for row in named}
    parts = studies(results, layout.seedless)
    return Findings(
        studies=tuple(Tabulator(part, layout, titles or {}).tables() for part in parts),
        finished=len(done),
        unfinished=tuple(sorted(cell for cell in set(planned) if cell not in done)),
        quick=quick,
        cpu_s=sum(row["cpu_s_max"] for row in named),
        digests={
            name: tuple(sorted({str(one) for one in rows[f"{name}_digest"].to_pylist()}))
            for name in ("config", "code", "data")
        },
        provenance=provenance or {},
    )


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
