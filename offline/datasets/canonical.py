"""Canonical tables that somebody made: checked as every data set is, and taken over."""

import shutil
from pathlib import Path

from offline.datasets.simulated.tables import TRUTH
from offline.engine import connect
from offline.events import CanonicalTables

NAMES = ("users", "items", "clicks", "purchases", "searches")


def build(folder: Path, out: Path) -> CanonicalTables:
    """Check and copy canonical tables, with the truth beside them where there is one.

    Args:
        folder: ``dataset.json`` and the tables of docs/architecture.md; ``truth/`` as in
            docs/simulator.md, if the true probabilities are known.
        out: an empty folder, or one to be made.

    Returns:
        The tables, sorted; equal tables give equal bytes.

    Raises:
        ConfigError: when a file is absent or ``dataset.json`` is wrong.
        InvalidTables: when rows break rules.
    """
    given = CanonicalTables.open(folder)
    with connect() as engine:
        tables = {name: engine.read_parquet(given.path(name)) for name in NAMES}
        written = CanonicalTables.write(out, given.schema, tables, engine)
    if (folder / TRUTH).is_dir():
        shutil.copytree(folder / TRUTH, out / TRUTH)
    return written
