"""Evaluation over seeds: the figures by name, honest where one is not defined."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.network.batch import Split
from offline.artefacts import Store
from offline.product import Product
from offline.samples import Samples
from offline.seeds import FIGURES, evaluate_seeds, methods
from tests.fixtures.tiny_log import building, shared_folder, tiny_pipeline


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The tiny log, both models trained with two seeds."""
    pipeline = tiny_pipeline(tmp_path_factory)
    with building(shared_folder(tmp_path_factory)):
        for name in methods(pipeline).values():
            for seed in (0, 1):
                pipeline.evaluated(name, seed)
    return pipeline


@pytest.fixture(scope="module")
def figures(pipeline: Product) -> Any:
    """The figures of two seeds, as a file of results holds them."""
    return json.loads(json.dumps(evaluate_seeds(pipeline, range(2)), allow_nan=False))


def test_every_model_has_the_named_figures(figures: Any) -> None:
    """Each model reports auc and gauc, low and overall, and gauc of five levels."""
    for model in (figures["din"], figures["choirrec"]):
        assert {"auc_low", "auc_overall", "gauc_low", "gauc_overall", "gauc_levels"} <= set(model)
        assert all(0 <= model[name] <= 1 for name in FIGURES if name != "gauc_levels")
        assert len(model["gauc_levels"]) == len(model["gauc_levels_std"]) == 5


def test_figures_are_means_over_the_seeds(figures: Any) -> None:
    """Mean and deviation are those of the runs, which stand beside them."""
    for model in (figures["din"], figures["choirrec"]):
        values = [run["gauc_low"] for run in model["runs"]]
        assert len(set(values)) == 2
        assert model["gauc_low"] == pytest.approx(sum(values) / 2)
        assert model["gauc_low_std"] == pytest.approx(abs(values[0] - values[1]) / 2)


def test_figures_say_what_they_rest_on(figures: Any, pipeline: Product) -> None:
    """Data set, preset, seeds, rows, users and provenance stand beside the figures."""
    assert figures["dataset"] == "tiny-shop"
    assert (figures["preset"], figures["seeds"]) == ("tiny", [0, 1])
    assert figures["groups"] == "aligned"
    assert figures["provenance"] == pipeline.tables().schema.provenance
    assert 0 < figures["low_activity_users"] < figures["test_users"] <= 300
    assert figures["test_rows"] > figures["test_users"]


def test_the_difference_has_an_interval_over_users(figures: Any) -> None:
    """ChoirRec minus DIN stands inside its own interval, low-activity and overall."""
    for difference in figures["choirrec_minus_din"].values():
        assert difference["low"] <= difference["mean"] <= difference["high"]


def test_what_is_not_defined_is_null(pipeline: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a low-activity user of both classes the figure is null, and the rest still stands."""
    load = Samples.load

    def nobody_low(*folders: Any) -> Any:
        samples = load(*folders)
        test: Split = samples.test
        return replace(samples, test=replace(test, row_low=np.zeros(len(test), bool)))

    metrics = pipeline.metrics(pipeline.method, 0)
    gone = {"auc_low": None, "gauc_low": None, "gauc_levels": [None, 0.5, None, 0.5, 0.5]}
    monkeypatch.setattr(Samples, "load", nobody_low)
    monkeypatch.setattr(pipeline, "metrics", lambda name, seed: {**metrics, **gone})
    found = evaluate_seeds(pipeline, [0])
    text = json.dumps(found, allow_nan=False)
    model = json.loads(text)["choirrec"]
    assert (model["gauc_low"], model["gauc_low_std"]) == (None, None)
    assert model["gauc_levels"] == [None, 0.5, None, 0.5, 0.5]
    assert math.isfinite(model["gauc_overall"])
    assert found["choirrec_minus_din"]["gauc_low"] == {"mean": None, "low": None, "high": None}


def test_a_second_evaluation_trains_nothing(pipeline: Product, figures: Any) -> None:
    """Once measured, the same figures come from the store."""
    words: list[str] = []
    store = Store(pipeline.store.root, words.append)
    fresh = Product(store, pipeline.dataset, pipeline.preset)
    assert json.loads(json.dumps(evaluate_seeds(fresh, range(2)))) == figures
    assert words
    assert all("skipped" in word for word in words)
