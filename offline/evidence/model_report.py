"""The model report: what was measured of the model that becomes a bundle, controls beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from hashlib import sha256
from operator import and_
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from model.evaluation import SEGMENTS, Control, Evaluation, SegmentFigures
from model.evaluation import Gain as ToldGain
from offline.artefacts import code_digest
from offline.evidence import words
from offline.evidence.cells import Bench, Cell, Source
from offline.evidence.findings import Findings, find
from offline.evidence.layout import LAYOUT, Layout
from offline.evidence.measurement import measured, tables_of
from offline.evidence.own_figures import own_tables
from offline.evidence.report import render
from offline.evidence.results import RESULTS_FILE, Results, ResultsError, read_results
from offline.evidence.statistics import World, bootstrap, interval
from offline.evidence.study import Study, studies
from offline.evidence.tables import Gain, StudyTables
from offline.export import Report
from offline.methods.registry import METHODS, method_of
from offline.pipeline import Pipeline
from offline.rules import ConfigError

MATCHED = "din_activity"
"""DIN of ChoirRec's size that sees the same activity inputs: the control for size and inputs."""
_OUTCOMES = ("test", False)


@dataclass(frozen=True)
class _OneBuild(Bench):
    """The bench of one build, whose pipeline has a writer and an encoder of its own."""

    built: Pipeline

    def pipeline(self, source: Source) -> Pipeline:
        """The build's pipeline, whatever the source."""
        return self.built


def load_evidence(folder: Path) -> Results:
    """Read a results folder before the work begins.

    Args:
        folder: of ``paper`` or ``evaluate --config``.

    Returns:
        Its cells.

    Raises:
        ConfigError: when there are none.
        ResultsError: when its tables are of another schema.
    """
    results = read_results(folder)
    if not results.rows.num_rows:
        raise ConfigError(
            f"--evidence {folder} holds no {RESULTS_FILE} with cells; expected the results folder "
            "of `paper` or `evaluate --config`"
        )
    return results


def model_report(
    pipeline: Pipeline, method: str, seed: int, evidence: Results | None = None
) -> Report:
    """Report on a trained model.

    Args:
        pipeline: that trains or has trained it.
        method: which it is.
        seed: of the model.
        evidence: a table that holds this very model; what it has of the same data set and preset
            is the report. None: the model's own figures, and its controls named as not measured.

    Returns:
        Evaluation and page.

    Raises:
        ResultsError: when the evidence does not hold this model.
    """
    results = _own(pipeline, method, seed)
    if evidence is not None:
        results = _beside(evidence, results)
    layout = _layout(method)
    (study,) = studies(results, layout.seedless)
    findings = _findings(pipeline, study, results, layout)
    evaluation = _evaluation(pipeline, study, findings.studies[0], method, seed)
    # CPU seconds are another thing each time; what was measured is not.
    said = replace(findings, cpu_s=0.0).to_json() + evaluation.to_json() + code_digest(__name__)
    page = render(findings, own_tables(evaluation))
    return Report(evaluation, page, sha256(said.encode()).hexdigest())


def _own(pipeline: Pipeline, method: str, seed: int) -> Results:
    """The model's cell alone."""
    source = Source(pipeline.tables().schema.name, "design")
    bench = _OneBuild(pipeline.store.root.parent, pipeline.preset, pipeline)
    return Results(*tables_of(measured(bench, Cell(source, method, seed))))


def _beside(evidence: Results, own: Results) -> Results:
    """The part of the evidence that is of this model's data set and preset."""
    cell = own.rows.slice(0, 1).to_pylist()[0]
    same = _equal(cell, ("method", "seed", "code_digest"))
    found = evidence.rows.filter(same).slice(0, 1).to_pylist()
    if not found:
        raise ResultsError(
            f"the evidence does not hold this very model ({cell['method']}, seed {cell['seed']}, "
            f"training {cell['code_digest']}); {_held(evidence, cell)}. Run the comparison again "
            "with this data, preset and code, or leave --evidence out"
        )
    like = ("dataset", "role", "preset", "config_digest", "data_digest")
    rows = evidence.rows.filter(_equal(found[0], like))
    users = evidence.users.filter(_equal(found[0], ("dataset", "preset")))
    return Results(rows, users)


def _equal(row: dict[str, Any], names: Sequence[str]) -> pc.Expression:
    same: pc.Expression = reduce(and_, [pc.field(name) == row[name] for name in names])
    return same


def _held(evidence: Results, cell: dict[str, Any]) -> str:
    named = evidence.rows.filter(_equal(cell, ("method",)))
    trainings = sorted({str(one) for one in named["code_digest"].to_pylist()})
    return f"of {cell['method']} it holds trainings {', '.join(trainings) or 'none'}"


def _layout(method: str) -> Layout:
    """The tables with this method as their subject; what parts are worth is told of one alone."""
    if method == LAYOUT.subject:
        return LAYOUT
    permuted = f"{method}_permuted"
    turned = (permuted if one == LAYOUT.permuted else one for one in LAYOUT.compared)
    bounds = (one for one in LAYOUT.bounds if one not in (method, permuted))
    return replace(
        LAYOUT,
        subject=method,
        permuted=permuted,
        compared=tuple(turned),
        bounds=tuple(bounds),
        ablations=(),
        codes_sweep=(),
        weight_sweep=(),
    )


def _findings(pipeline: Pipeline, study: Study, results: Results, layout: Layout) -> Findings:
    """All tables; controls without a cell stand among the unfinished."""
    (dataset,) = study.datasets
    controls = (layout.subject, layout.permuted, MATCHED)
    seeds = study.cells[layout.subject][dataset]
    return find(
        results,
        planned=[(dataset, name, study.preset, seed) for name in controls for seed in seeds],
        titles={name: one.title for name, one in METHODS.items()},
        provenance={dataset: pipeline.tables().schema.provenance},
        layout=layout,
    )


def _evaluation(
    pipeline: Pipeline, study: Study, tables: StudyTables, method: str, seed: int
) -> Evaluation:
    split, (dataset,) = pipeline.tables().schema.split, study.datasets
    return Evaluation(
        method=method,
        dataset=dataset,
        role=study.role,
        preset=study.preset,
        test_start=split.test_start.isoformat(),
        test_end=split.test_end.isoformat(),
        seed=seed,
        seeds=len(study.cells[method][dataset]),
        measure=words.primary(tables),
        segments={name: _segment(study, method, seed, name) for name in SEGMENTS},
        controls=tuple(_control(tables, name) for name in (tables.control, MATCHED)),
    )


def _segment(study: Study, method: str, seed: int, segment: str) -> SegmentFigures:
    (dataset,) = study.datasets
    told = {
        metric: study.values[dataset, method, seed, "test", segment, metric]
        for metric in ("rows", "users", "auc", "gauc", "logloss", "pcoc")
    }
    return SegmentFigures(
        rows=int(told["rows"]),
        users=int(told["users"]),
        auc=_plain(told["auc"]),
        gauc=_plain(told["gauc"]),
        gauc_error=_error(study, method, seed, segment),
        logloss=_plain(told["logloss"]),
        pcoc=_plain(told["pcoc"]),
    )


def _error(study: Study, method: str, seed: int, segment: str) -> float | None:
    """Standard error of a segment's GAUC over its users, of one seed."""
    block = study.blocks.get((study.datasets[0], *_OUTCOMES))
    weights = np.zeros(0) if block is None else block.weights(segment, weighted=True)
    if block is None or not weights.any():
        return None
    inside = weights > 0
    (drawn,) = bootstrap([World(block.auc[method, seed][None, None, inside], weights[inside])])
    return _plain(interval(drawn).error)


def _control(tables: StudyTables, name: str) -> Control:
    row = next((row for row in tables.methods if row.method == name), None)
    return Control(
        method=name,
        title=method_of(name).title,
        seeds=0 if row is None else row.finished,
        low=None if row is None else _gain(row.gains.get("primary_low")),
        overall=None if row is None else _gain(row.gains.get("primary_overall")),
    )


def _gain(gain: Gain | None) -> ToldGain | None:
    if gain is None or math.isnan(gain.judged.value):
        return None
    return ToldGain(gain.judged.value, _plain(gain.judged.low), _plain(gain.judged.high))


def _plain(value: float) -> float | None:
    """NaN as None: JSON has no NaN."""
    return None if math.isnan(value) else value
