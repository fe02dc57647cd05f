"""Measurement: one cell's trained model, as rows of the tidy table and every user's AUC."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.network.batch import Split
from offline.artefacts import Artefact
from offline.evaluation import SliceMetrics, measure, user_aucs
from offline.evidence.cells import Bench, Cell
from offline.evidence.group_figures import group_figures
from offline.evidence.results import RESULTS, USER_AUCS
from offline.item_slices import rare_rows
from offline.methods.registry import method_of
from offline.pipeline import Pipeline
from offline.samples import Samples
from offline.soft_labels import soft_aucs

ROWS_FILE, USERS_FILE = "rows.parquet", "users.parquet"
FIGURES = ("auc", "gauc", "gauc_unweighted", "logloss", "pcoc", "alpha_fusion")
COUNTS = ("rows", "users", "one_class_users")

Mask = NDArray[np.bool_]
Floats = NDArray[np.floating]


def measured(bench: Bench, cell: Cell) -> Artefact:
    """Train and measure a cell, or find it.

    Args:
        bench: where and how.
        cell: what.

    Returns:
        The artefact: ``rows.parquet`` and ``users.parquet`` of the schemas in ``results.py``.
    """
    pipeline = bench.pipeline(cell.source)
    evaluated = pipeline.evaluated(cell.method, cell.seed)
    trained = pipeline.trained(cell.method, cell.seed)
    named = {"source": cell.source.name, "role": cell.source.role, "method": cell.method}
    return pipeline.store.make(
        "cells",
        lambda out: _write(pipeline, cell, evaluated, trained, out),
        named | {"preset": pipeline.preset.name},
        inputs=(evaluated, trained, pipeline.base_samples()),
        code=("offline.evidence.measurement",),
    )


def tables_of(cell: Artefact) -> tuple[pa.Table, pa.Table]:
    """A measured cell's rows and users' AUCs."""
    return pq.read_table(cell.folder / ROWS_FILE), pq.read_table(cell.folder / USERS_FILE)


@dataclass(frozen=True, eq=False)
class _Scored:
    """Rows with a model's answers."""

    target: str
    split: Split
    logit: Floats
    alpha: Floats | None

    def segments(self, purchases: NDArray[np.int64]) -> dict[str, Mask]:
        split = self.split
        rare = rare_rows(split, purchases)
        levels = {f"level_{n}": np.asarray(split.row_level == n) for n in range(1, 6)}
        everything = np.ones(len(split), np.bool_)
        parts = {"low": np.asarray(split.row_low), "overall": everything}
        return {**parts, **levels, "rare_items": rare, "frequent_items": ~rare}

    def figures(self, part: Mask) -> dict[str, float]:
        """By metric, of some of the rows."""
        split = self.split
        alpha = None if self.alpha is None else self.alpha[part]
        found: SliceMetrics = measure(
            self.logit[part], split.label[part], split.row_user[part], alpha
        )
        values = {name: float(getattr(found, name)) for name in FIGURES + COUNTS}
        if split.probability is None:
            return values
        auc, rows = soft_aucs(self.logit[part], split.probability[part], split.row_user[part])
        known = np.isfinite(auc)
        soft = float(np.average(auc[known], weights=rows[known])) if known.any() else np.nan
        return {**values, "gauc_soft": soft}


def _write(
    pipeline: Pipeline, cell: Cell, evaluated: Artefact, trained: Artefact, out: Path
) -> None:
    samples = pipeline.method_samples(cell.method, cell.seed)
    parts = list(_scored(samples, evaluated.folder))
    common = _common(pipeline, cell, trained)
    rows = [
        {**common, "target": part.target, "segment": segment, "metric": metric, "value": value}
        for part in parts
        for segment, mask in part.segments(samples.item_purchases).items()
        for metric, value in part.figures(mask).items()
    ]
    grouping = method_of(cell.method).grouped(cell.seed)
    if grouping.kind != "none":
        found = group_figures(pipeline.tables(), pipeline.grouped(grouping).files())
        of_groups = {**common, "target": "groups", "segment": "overall"}
        rows += [{**of_groups, "metric": name, "value": value} for name, value in found.items()]
    pq.write_table(pa.Table.from_pylist(rows, schema=RESULTS), out / ROWS_FILE)
    users = [table for part in parts for table in _users(part, common)]
    pq.write_table(pa.concat_tables(users), out / USERS_FILE)


def _scored(samples: Samples, folder: Path) -> Iterator[_Scored]:
    alpha = folder / "alpha_fusion.npy"
    yield _Scored(
        "test",
        samples.test,
        np.load(folder / "logit.npy"),
        np.load(alpha) if alpha.is_file() else None,
    )
    if samples.panel is not None:
        yield _Scored("panel", samples.panel, np.load(folder / "panel_logit.npy"), None)


def _users(part: _Scored, common: dict[str, Any]) -> Iterator[pa.Table]:
    """Every user's AUC, by outcomes and, where known, by true probabilities."""
    split = part.split
    found = user_aucs(part.logit, split.label, split.row_user)
    yield _user_table(part, common, False, found.auc, found.rows)
    if split.probability is not None:
        yield _user_table(
            part, common, True, *soft_aucs(part.logit, split.probability, split.row_user)
        )


def _user_table(
    part: _Scored,
    common: dict[str, Any],
    soft: bool,
    auc: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> pa.Table:
    users, first = np.unique(part.split.row_user, return_index=True)
    named = ("dataset", "method", "grouping", "preset", "seed")
    columns = {name: [common[name]] * len(users) for name in named} | {
        "target": [part.target] * len(users),
        "soft": [soft] * len(users),
        "user": users,
        "auc": auc,
        "rows": rows,
        "low": np.asarray(part.split.row_low)[first],
        "level": np.asarray(part.split.row_level)[first].astype(np.int64),
    }
    return pa.table(columns).cast(USER_AUCS)


def _common(pipeline: Pipeline, cell: Cell, trained: Artefact) -> dict[str, Any]:
    """What all rows of a cell share."""
    record = pipeline.training(cell.method, cell.seed)
    epochs, best = record["epochs"], record["best_epoch"]
    score = epochs[best]["validation"] if epochs else None
    preset = json.dumps(pipeline.preset.described(), sort_keys=True)
    return {
        "dataset": cell.source.name,
        "role": cell.source.role,
        "world": cell.source.world,
        "method": cell.method,
        "grouping": method_of(cell.method).grouped(cell.seed).name,
        "seed": cell.seed,
        "preset": pipeline.preset.name,
        "dense_parameters": record["dense_parameters"],
        "table_parameters": record["table_parameters"],
        "validation": np.nan if score is None else score,
        "best_epoch": best,
        "cpu_s": record["cpu_s"],
        "config_digest": sha256(preset.encode()).hexdigest()[:16],
        "code_digest": trained.digest[:16],
        "data_digest": pipeline.events().digest[:16],
    }
