"""Metric equality: ours are scikit-learn's and FuxiCTR's, on the same rows, to 1e-9."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from offline.evaluation import auc, gauc, user_aucs
from offline.evidence.statistics import World, bootstrap
from offline.soft_labels import soft_gauc
from tools.record_fuxictr import draw_rows

TOLERANCE = 1e-9
FIXTURE = Path(__file__).parents[2] / "fixtures" / "fuxictr_metrics.json"

Columns = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Rows, and what FuxiCTR said of them (tools/record_fuxictr.py tells how to record again)."""
    loaded: dict[str, Any] = json.loads(FIXTURE.read_text())
    return loaded


def columns(rows: dict[str, Any]) -> Columns:
    """Scores, labels and users."""
    return (
        np.array(rows["score"], np.float64),
        np.array(rows["label"], np.float64),
        np.array(rows["user"], np.int64),
    )


def by_scikit_learn(rows: Columns) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scikit-learn's AUC and the rows of every user that has both classes."""
    score, label, user = rows
    parts = [user == one for one in np.unique(user)]
    both = [part for part in parts if 0 < label[part].sum() < part.sum()]
    aucs = [roc_auc_score(label[part], score[part]) for part in both]
    return np.array(aucs), np.array([part.sum() for part in both])


def test_the_record_names_its_version_and_its_rows(recorded: dict[str, Any]) -> None:
    """What is compared with can be made again: a released version, and rows by a seed."""
    assert recorded["fuxictr"] == "2.3.10"
    assert recorded["rows"] == draw_rows(recorded["seed"])


def test_auc_over_all_rows_is_fuxictrs(recorded: dict[str, Any]) -> None:
    """``auc`` is FuxiCTR's AUC, and scikit-learn's."""
    score, label, _ = columns(recorded["rows"])
    assert abs(auc(score, label) - recorded["figures"]["AUC"]) <= TOLERANCE
    assert abs(auc(score, label) - roc_auc_score(label, score)) <= TOLERANCE


def test_gauc_weighed_by_rows_is_fuxictrs_gauc(recorded: dict[str, Any]) -> None:
    """``gauc`` weighs users by their rows (impressions): FuxiCTR's gAUC."""
    score, label, user = columns(recorded["rows"])
    found = gauc(user_aucs(score, label, user))
    aucs, rows = by_scikit_learn((score, label, user))
    assert abs(found - recorded["figures"]["gAUC"]) <= TOLERANCE
    assert abs(found - np.average(aucs, weights=rows)) <= TOLERANCE


def test_unweighted_gauc_is_fuxictrs_avgauc(recorded: dict[str, Any]) -> None:
    """``gauc_unweighted`` is the plain mean over users: FuxiCTR's avgAUC."""
    score, label, user = columns(recorded["rows"])
    found = gauc(user_aucs(score, label, user), weighted=False)
    aucs, _ = by_scikit_learn((score, label, user))
    assert abs(found - recorded["figures"]["avgAUC"]) <= TOLERANCE
    assert abs(found - aucs.mean()) <= TOLERANCE


def test_the_two_variants_are_not_the_same_number(recorded: dict[str, Any]) -> None:
    """Weighing matters on these rows, so that no variant can pass for the other."""
    assert abs(recorded["figures"]["gAUC"] - recorded["figures"]["avgAUC"]) > 1e-3


def test_logloss_is_fuxictrs(recorded: dict[str, Any]) -> None:
    """The negative log-likelihood in nats is FuxiCTR's and scikit-learn's logloss."""
    score, label, _ = columns(recorded["rows"])
    logit = np.log(score) - np.log1p(-score)
    ours = float(np.mean(np.logaddexp(0.0, logit) - label * logit))
    assert abs(ours - recorded["figures"]["logloss"]) <= TOLERANCE
    assert abs(ours - log_loss(label, score)) <= TOLERANCE


@pytest.mark.parametrize("seed", range(5))
def test_every_variant_equals_scikit_learn_on_other_rows(seed: int) -> None:
    """Ties, users of one row and users of one class change nothing of that."""
    score, label, user = columns(draw_rows(seed))
    aucs, rows = by_scikit_learn((score, label, user))
    found = user_aucs(score, label, user)
    both = np.isfinite(found.auc)
    np.testing.assert_allclose(found.auc[both], aucs, rtol=0, atol=TOLERANCE)
    assert found.rows[both].tolist() == rows.tolist()
    assert abs(gauc(found) - np.average(aucs, weights=rows)) <= TOLERANCE
    assert abs(soft_gauc(score, label, user) - gauc(found)) <= TOLERANCE


def test_the_statistics_average_as_the_metrics_do() -> None:
    """A table's GAUC of one data set and one seed is the metric of the same rows."""
    score, label, user = columns(draw_rows(1))
    found = user_aucs(score, label, user)
    for weighted, weights in (
        (True, found.rows.astype(np.float64)),
        (False, np.ones(len(found.users))),
    ):
        (figure,) = bootstrap([World(found.auc[None, None], weights)], replicates=2)
        assert abs(figure.value - gauc(found, weighted)) <= TOLERANCE
