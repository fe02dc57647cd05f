"""Files: those of a served log, of which one that cannot be read stops nothing but is counted."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.served_log import OUTCOMES, SERVED, SUFFIX
from offline.rules import ConfigError

ROWS = 4096
"""Turned into Python's values at once."""
DAMAGED = {
    SERVED: "files of requests that cannot be read",
    OUTCOMES: "files of outcomes that cannot be read, so that figures are too low",
}
"""How they are counted, by kind."""
_LOG = logging.getLogger(__name__)


class Files:
    """The files of one log."""

    def __init__(self, folder: Path) -> None:
        """Look at nothing yet.

        Args:
            folder: of the log.
        """
        self._folder = folder
        self._damaged: dict[tuple[str, Path], str] = {}

    def rows(self, kind: str, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Some columns of all rows, the oldest file first.

        Args:
            kind: served or outcomes.
            names: of the columns.

        Raises:
            ConfigError: when there are files, and none of them can be read.
        """
        paths = sorted((self._folder / kind).glob(f"*{SUFFIX}"))
        read = 0
        for path in paths:
            table = self._read(path, kind, list(names))
            if table is not None:
                read += 1
                for batch in table.to_batches(max_chunksize=ROWS):
                    yield from batch.to_pylist()
        if paths and not read:
            raise ConfigError(self._damaged[kind, paths[0]])

    def counts(self) -> dict[str, int]:
        """How many files of each kind were passed over."""
        kinds = [kind for kind, _ in self._damaged]
        return {name: kinds.count(kind) for kind, name in DAMAGED.items()}

    def _read(self, path: Path, kind: str, names: list[str]) -> "pa.Table | None":
        if (kind, path) in self._damaged:
            return None
        try:
            return pq.read_table(path, columns=names)
        except (pa.ArrowException, OSError) as error:
            told = f"{path} is not a file of {kind} as this version writes it: {error}"
            self._damaged[kind, path] = told
            _LOG.warning("%s; it was passed over", told)
            return None
