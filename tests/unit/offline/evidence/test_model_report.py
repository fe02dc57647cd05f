"""The model report: the very model's figures, and controls that are measured or named as not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from offline.artefacts import Store
from offline.evaluation import gauc, user_aucs
from offline.evidence.cells import Bench, Source
from offline.evidence.model_report import load_evidence, model_report
from offline.evidence.plan import cells
from offline.evidence.results import Results, ResultsError, read_results, write_results
from offline.evidence.runner import run_cells
from offline.export import Report
from offline.pipeline import Pipeline
from offline.rules import ConfigError
from offline.sources import own_files
from tests.fixtures.evidence_results import Made, results
from tests.fixtures.tiny_log import TINY_PRESET, write_log

pytestmark = pytest.mark.slow

QUICK = TINY_PRESET.shortened("quick")
METHOD, SEED = "choirrec", 1
MEASURED = (METHOD, "choirrec_permuted", "din_activity")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny log."""
    folder = tmp_path_factory.mktemp("report")
    write_log(folder / "log")
    return folder


@pytest.fixture(scope="module")
def pipeline(place: Path) -> Pipeline:
    """The stages over the log."""
    mapping = place / "log" / "mapping.toml"
    return Pipeline(Store(place / "artefacts", lambda _: None), own_files(mapping), QUICK)


@pytest.fixture(scope="module")
def evidence(place: Path) -> Results:
    """The model and both controls with two seeds, among cells of another data set."""
    source = Source("ours", "confirmation", mapping=place / "log" / "mapping.toml")
    run_cells(Bench(place, QUICK), cells([source], MEASURED, 2), place / "results", 1, _quiet)
    other = results(Made("sim_1", users=20, preset=QUICK.name))
    write_results(place / "results", other.rows, other.users)
    return load_evidence(place / "results")


def _quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def alone(pipeline: Pipeline) -> Report:
    """The report of the model with nothing beside it."""
    return model_report(pipeline, METHOD, SEED)


@pytest.fixture(scope="module")
def beside(pipeline: Pipeline, evidence: Results) -> Report:
    """The report of the same model from the evidence."""
    return model_report(pipeline, METHOD, SEED, evidence)


def test_the_figures_are_those_of_the_model(pipeline: Pipeline, alone: Report) -> None:
    """Segments hold what evaluation measured of this very seed, on the test period of its data."""
    measured = pipeline.metrics(METHOD, SEED)
    told = alone.evaluation
    for metric in ("auc", "gauc", "logloss", "pcoc", "rows", "users"):
        levels = [getattr(told.segments[f"level_{n}"], metric) for n in range(1, 6)]
        assert levels == measured[f"{metric}_levels"]
        for segment in ("low", "overall"):
            assert getattr(told.segments[segment], metric) == measured[f"{metric}_{segment}"]
    split = pipeline.tables().schema.split
    assert (told.test_start, told.test_end) == (
        split.test_start.isoformat(),
        split.test_end.isoformat(),
    )
    assert (told.dataset, told.method, told.seed, told.seeds) == ("tiny-shop", METHOD, SEED, 1)


def test_the_error_is_that_of_drawing_users(pipeline: Pipeline, alone: Report) -> None:
    """The standard error of GAUC is what drawing users anew makes of it."""
    split = pipeline.load_samples().test
    logit = np.load(pipeline.evaluated(METHOD, SEED).folder / "logit.npy")
    low = np.asarray(split.row_low)
    users = user_aucs(logit[low], split.label[low], split.row_user[low])
    known = np.isfinite(users.auc)
    auc, rows = users.auc[known], users.rows[known]
    drawn = np.random.default_rng(5).integers(len(auc), size=(4000, len(auc)))
    spread = float(np.std((auc[drawn] * rows[drawn]).sum(1) / rows[drawn].sum(1)))
    told = alone.evaluation.segments["low"]
    assert told.gauc == pytest.approx(gauc(users))
    assert told.gauc_error == pytest.approx(spread, rel=0.1)


def test_controls_that_were_not_measured_are_named(alone: Report) -> None:
    """Without evidence both controls are there, of no seed; page and figures say so, no claim."""
    assert [(one.method, one.seeds, one.low) for one in alone.evaluation.controls] == [
        ("choirrec_permuted", 0, None),
        ("din_activity", 0, None),
    ]
    assert alone.evaluation.role == "design"
    assert alone.page.count("<td>not measured</td>") == 4
    assert "2 of 3 cells have not been run" in alone.page
    assert "tiny-shop, din_activity, preset tiny-quick: seeds 1" in alone.page
    assert "No claim:" in alone.page
    assert "no evidence at this size" not in alone.page


def test_the_evidence_of_the_same_data_is_the_report(beside: Report, alone: Report) -> None:
    """Its cells of this data set and preset stand on the page, its controls in the figures."""
    told = beside.evaluation
    assert (told.dataset, told.role, told.seeds) == ("ours", "confirmation", 2)
    assert told.segments == alone.evaluation.segments
    for control in told.controls:
        assert control.seeds == 2
        assert control.low is not None
        assert control.low.low is not None
        assert control.low.high is not None
        assert control.low.low < control.low.value < control.low.high
        assert str(control.low) in beside.page
    assert "sim_1" not in beside.page
    assert "<strong>Unfinished:</strong>" not in beside.page
    assert "not measured" not in beside.page


def test_the_page_loads_nothing_and_needs_no_script(alone: Report, beside: Report) -> None:
    """One file that stays whole wherever it is shown; its policy forbids everything else."""
    for page in (alone.page, beside.page):
        assert "default-src 'none'" in page
        for word in ("<script", "<link", "<img", "src=", "http://", "https://", "@import", "url("):
            assert word not in page


def test_equal_models_have_equal_reports(pipeline: Pipeline, alone: Report, beside: Report) -> None:
    """The same model reports the same, byte for byte; what stands beside it is another report."""
    assert model_report(pipeline, METHOD, SEED) == alone
    assert beside.digest != alone.digest


def test_evidence_of_another_model_is_refused(pipeline: Pipeline, evidence: Results) -> None:
    """A table without this very training is no evidence for it: told with what the table holds."""
    with pytest.raises(
        ResultsError, match=r"not hold this very model \(choirrec, seed 7, training"
    ):
        model_report(pipeline, METHOD, 7, evidence)
    place = evidence.rows.column_names.index("code_digest")
    stale = evidence.rows.set_column(place, "code_digest", pa.array(["0ld"] * len(evidence.rows)))
    with pytest.raises(ResultsError, match=r"of choirrec it holds trainings 0ld\. Run the compar"):
        model_report(pipeline, METHOD, SEED, replace(evidence, rows=stale))


def test_half_a_comparison_names_what_it_lacks(pipeline: Pipeline, evidence: Results) -> None:
    """A control with fewer seeds counts with those that it has, and the others are unfinished."""
    gone = (pc.field("method") == "din_activity") & (pc.field("seed") == 1)
    part = Results(evidence.rows.filter(~gone), evidence.users.filter(~gone))
    report = model_report(pipeline, METHOD, SEED, part)
    assert [one.seeds for one in report.evaluation.controls] == [2, 1]
    assert "ours, din_activity, preset tiny-quick: seeds 1" in report.page


def test_a_folder_without_cells_is_refused(tmp_path: Path) -> None:
    """Whoever names a wrong folder learns it before anything is trained."""
    with pytest.raises(
        ConfigError, match=r"holds no paper.parquet with cells; expected the result"
    ):
        load_evidence(tmp_path)
    assert not read_results(tmp_path).rows.num_rows
