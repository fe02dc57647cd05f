"""The study: the cells of one kind of data in one role, as statistics by method."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from offline.evidence.results import Results
from offline.evidence.statistics import REPLICATES, Statistic, World, bootstrap
from offline.evidence.user_blocks import BlockKey, UserBlock, user_blocks

Seeds = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Study:
    """The cells of one kind of data set, one role and one preset."""

    family: str
    """The data sets' common name: worlds of one simulator differ in their number alone."""
    role: str
    preset: str
    cells: Mapping[str, Mapping[str, tuple[int, ...]]]
    """Finished seeds by method and data set."""
    values: Mapping[tuple[str, str, int, str, str, str], float]
    """By data set, method, seed, target, segment, metric."""
    blocks: Mapping[BlockKey, UserBlock]
    """By data set, target and whether labels are soft."""
    parameters: Mapping[str, tuple[int, int]]
    """Dense and table parameters by method."""
    groupings: Mapping[str, str]
    """By method: how the groups that it read came about."""
    seedless: Collection[str] = ()
    """Methods that no seed decides."""

    @property
    def name(self) -> str:
        """For headings."""
        return f"{self.family.replace('_', ' ')}, {self.role}, preset {self.preset}"

    @property
    def datasets(self) -> tuple[str, ...]:
        """Those that have a finished cell."""
        return tuple(sorted({data for of in self.cells.values() for data in of}))

    def paired(self, *methods: str) -> Seeds:
        """The seeds that all of these methods have finished, by data set."""
        deciding = [m for m in methods if m not in self.seedless]
        found = {}
        for dataset in self.datasets:
            seeds = [set(self.cells.get(m, {}).get(dataset, ())) for m in deciding]
            common = set.intersection(*seeds) if seeds else {0}
            if common and all(self.cells.get(m, {}).get(dataset) for m in methods):
                found[dataset] = tuple(sorted(common))
        return found

    def users(
        self,
        methods: Sequence[str],
        seeds: Seeds,
        measure: tuple[str, bool],
        segment: str,
        weighted: bool = True,
        replicates: int = REPLICATES,
    ) -> dict[str, Statistic]:
        """GAUC of methods, from users' AUCs.

        Args:
            methods: each has finished ``seeds``.
            seeds: by data set.
            measure: target, and whether labels are soft.
            segment: "low", "overall" or "level_1" to "level_5".
            weighted: by rows, or plainly.
            replicates: of the bootstrap.

        Returns:
            By method; nothing where a data set has no user with a pair in the segment.

        Raises:
            UnevenCells: when cells of one data set were measured on different users.
        """
        worlds = []
        for dataset in sorted(seeds):
            block = self.blocks.get((dataset, *measure))
            if block is None or not block.weights(segment, weighted).any():
                return {}
            auc = [[block.auc[self._key(dataset, m, s)] for s in seeds[dataset]] for m in methods]
            worlds.append(World(np.array(auc), block.weights(segment, weighted)))
        return dict(zip(methods, bootstrap(worlds, replicates), strict=True)) if worlds else {}

    def figures(
        self,
        methods: Sequence[str],
        seeds: Seeds,
        target: str,
        segment: str,
        metric: str,
        replicates: int = REPLICATES,
    ) -> dict[str, Statistic]:
        """A figure that has one value per cell; its intervals know of worlds and seeds alone.

        Args:
            methods: each has finished ``seeds``.
            seeds: by data set.
            target: the rows.
            segment: of them.
            metric: its name in the results.
            replicates: of the bootstrap.

        Returns:
            By method, for those that have it in every cell.
        """

        def values(method: str, dataset: str) -> list[float]:
            keys = (self._key(dataset, method, seed) for seed in seeds[dataset])
            named = ((dataset, *key, target, segment, metric) for key in keys)
            return [self.values.get(name, np.nan) for name in named]

        by_method = {
            m: [np.array(values(m, dataset)) for dataset in sorted(seeds)] for m in methods
        }
        known = [m for m, worlds in by_method.items() if all(np.isfinite(w).all() for w in worlds)]
        if not known or not seeds:
            return {}
        worlds = [
            World(np.stack([by_method[m][place] for m in known])[:, :, None], np.ones(1))
            for place in range(len(seeds))
        ]
        return dict(zip(known, bootstrap(worlds, replicates), strict=True))

    def _key(self, dataset: str, method: str, seed: int) -> tuple[str, int]:
        one_for_all = method in self.seedless
        return method, self.cells[method][dataset][0] if one_for_all else seed


def studies(results: Results, seedless: Collection[str] = ()) -> list[Study]:
    """Divide results into studies.

    Args:
        results: all finished cells.
        seedless: methods that no seed decides.

    Returns:
        Confirmation before design, in order of names.

    Raises:
        UnevenCells: when cells of one data set were measured on different users.
    """
    rows = results.rows.to_pylist()
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["role"], family(row), row["preset"]), []).append(row)
    return [_study(key, found[key], results.users, seedless) for key in sorted(found)]


def family(row: Mapping[str, Any]) -> str:
    """The name of a row's data set without the number of its world."""
    if row["world"] is None:
        return str(row["dataset"])
    return re.sub(rf"[-_]?{row['world']}$", "", row["dataset"])


def _study(
    key: tuple[str, str, str],
    rows: Sequence[Mapping[str, Any]],
    users: pa.Table,
    seedless: Collection[str],
) -> Study:
    role, name, preset = key
    cells: dict[str, dict[str, set[int]]] = {}
    for row in rows:
        cells.setdefault(row["method"], {}).setdefault(row["dataset"], set()).add(row["seed"])
    names = ("dataset", "method", "seed", "target", "segment", "metric")
    datasets = sorted({row["dataset"] for row in rows})
    finished = {(row["dataset"], row["method"], row["seed"]) for row in rows}
    return Study(
        family=name,
        role=role,
        preset=preset,
        cells={m: {d: tuple(sorted(s)) for d, s in of.items()} for m, of in cells.items()},
        values={tuple(row[name] for name in names): row["value"] for row in rows},
        blocks=user_blocks(users, datasets, preset, finished),
        parameters={r["method"]: (r["dense_parameters"], r["table_parameters"]) for r in rows},
        groupings={r["method"]: r["grouping"] for r in rows},
        seedless=seedless,
    )
