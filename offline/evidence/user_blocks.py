"""User blocks: every user's AUC by all finished cells of one data set, side by side."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
BlockKey = tuple[str, str, bool]
"""Data set, target, and whether labels are soft."""
_BLOCK = ("dataset", "target", "soft", "method", "seed")
_VALUES = ("user", "auc", "rows", "low", "level")


class UnevenCells(ValueError):
    """Cells of one data set that were measured on different rows."""


@dataclass(frozen=True, eq=False)
class UserBlock:
    """What every finished cell made of the users of one data set's target."""

    rows: Ints
    """int64 ``[U]``: rows per user; users without a pair are left out."""
    low: NDArray[np.bool_]
    """bool ``[U]``."""
    level: Ints
    """int64 ``[U]``: activity level."""
    auc: Mapping[tuple[str, int], Doubles]
    """float64 ``[U]`` by method and seed."""

    def weights(self, segment: str, weighted: bool) -> Doubles:
        """float64 ``[U]``: rows (or ones) of the segment's users, 0 for others."""
        inside = np.ones(len(self.rows), bool)
        if segment == "low":
            inside = self.low
        elif segment != "overall":
            inside = self.level == int(segment.removeprefix("level_"))
        return inside * (self.rows.astype(np.float64) if weighted else 1.0)


def user_blocks(
    users: pa.Table, datasets: Sequence[str], preset: str, finished: Collection[tuple[Any, ...]]
) -> dict[BlockKey, UserBlock]:
    """Put the AUCs of finished cells side by side.

    Args:
        users: of schema ``offline.evidence.results.USER_AUCS``.
        datasets: which to take.
        preset: of which preset.
        finished: data set, method and seed of the cells that count.

    Returns:
        By data set, target and kind of labels; users in ascending order.

    Raises:
        UnevenCells: when cells of one data set were measured on different users or rows.
    """
    wanted = pc.field("dataset").isin(datasets) & (pc.field("preset") == preset)
    table = users.filter(wanted & pc.is_finite(pc.field("auc")))
    columns = {name: _numbers(table[name]) for name in (*_BLOCK, *_VALUES)}
    order = np.lexsort([columns["user"], *(columns[name] for name in reversed(_BLOCK))])
    columns = {name: column[order] for name, column in columns.items()}
    table = table.select(list(_BLOCK))
    blocks: dict[BlockKey, dict[tuple[str, int], slice]] = {}
    for part in _runs([columns[name] for name in _BLOCK]):
        first = table.slice(int(order[part.start]), 1).to_pylist()[0]
        if (first["dataset"], first["method"], first["seed"]) in finished:
            block = blocks.setdefault((first["dataset"], first["target"], first["soft"]), {})
            block[first["method"], first["seed"]] = part
    return {key: _block(key, columns, parts) for key, parts in blocks.items()}


def _block(
    key: BlockKey,
    columns: Mapping[str, NDArray[Any]],
    parts: Mapping[tuple[str, int], slice],
) -> UserBlock:
    (one, first), *others = parts.items()
    for other, part in others:
        if not all(
            np.array_equal(columns[n][part], columns[n][first]) for n in ("user", "rows", "level")
        ):
            raise UnevenCells(
                f"{key[0]}, {key[1]}: cells {one} and {other} were measured on other users or"
                " rows; expected the same for all. Run one of them again"
            )
    return UserBlock(
        rows=columns["rows"][first],
        low=columns["low"][first].astype(bool),
        level=columns["level"][first],
        auc={name: columns["auc"][part] for name, part in parts.items()},
    )


def _numbers(column: Any) -> NDArray[Any]:
    """A column as numbers: texts by their place among the sorted ones."""
    if not pa.types.is_string(column.type):
        return np.asarray(column.to_numpy())
    encoded = column.combine_chunks().dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), dtype=str)
    ranks = np.argsort(np.argsort(names))
    return ranks[encoded.indices.to_numpy()] if len(names) else np.zeros(0, np.int64)


def _runs(columns: Iterable[NDArray[Any]]) -> list[slice]:
    """Where sorted rows agree in all columns."""
    columns = list(columns)
    size = len(columns[0])
    if not size:
        return []
    changes = np.zeros(size - 1, bool)
    for column in columns:
        changes |= column[1:] != column[:-1]
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), size]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
