"""Evaluation over seeds: every model's figures side by side, with what they rest on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline.evaluation import gauc_difference, user_aucs
from offline.product import Product

FIGURES = ("auc_low", "auc_overall", "gauc_low", "gauc_overall", "gauc_levels")


def evaluate_seeds(product: Product, seeds: Sequence[int]) -> Mapping[str, Any]:
    """Train and measure every model with every seed on the test rows.

    Args:
        product: data set, preset and the model that is compared with DIN.
        seeds: model seeds, the same for every model.

    Returns:
        Per model the mean of each figure over seeds, its standard deviation and every seed's
        metrics; and ChoirRec minus DIN with its interval over users (paired, mean logits over
        seeds), which is no claim: docs/evaluation.md asks for controls beside one.
    """
    metrics = {
        name: [product.metrics(method, seed) for seed in seeds]
        for name, method in methods(product).items()
    }
    schema = product.tables().schema
    split = product.load_samples(product.grouping).test
    return {
        "dataset": schema.name,
        "event": schema.event,
        "preset": product.preset.name,
        "losses": product.preset.losses,
        "groups": product.grouping.name,
        "seeds": list(seeds),
        "test_rows": len(split),
        "test_users": len(np.unique(split.row_user)),
        "low_activity_users": len(np.unique(split.row_user[split.row_low])),
        **{name: _summary(runs) for name, runs in metrics.items()},
        "choirrec_minus_din": {
            "gauc_low": _difference(product, seeds, split.row_low),
            "gauc_overall": _difference(product, seeds, np.ones(len(split), bool)),
        },
        "provenance": schema.provenance,
    }


def methods(product: Product) -> Mapping[str, str]:
    """Names of methods by the names that their models have in results."""
    return {"din": "din_base", "choirrec": product.method}


def _summary(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    means = {name: _over_runs(np.mean, runs, name) for name in FIGURES}
    spread = {f"{name}_std": _over_runs(np.std, runs, name) for name in FIGURES}
    return {**means, **spread, "runs": list(runs)}


def _over_runs(statistic: Any, runs: Sequence[Mapping[str, Any]], name: str) -> Any:
    """A figure's mean or deviation over runs; null where it is not defined, as in every run."""
    values = np.array([run[name] for run in runs], float)
    return _plain(statistic(values, axis=0).tolist())


def _plain(value: Any) -> Any:
    """NaN as null: JSON has no NaN."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if math.isnan(value) else value


def _difference(
    product: Product, seeds: Sequence[int], rows: NDArray[np.bool_]
) -> Mapping[str, float | None]:
    split = product.load_samples(product.grouping).test
    aucs = {}
    for name, method in methods(product).items():
        logits = [np.load(product.evaluated(method, seed).folder / "logit.npy") for seed in seeds]
        mean = np.mean(logits, axis=0)
        aucs[name] = user_aucs(mean[rows], split.label[rows], split.row_user[rows])
    difference = gauc_difference(aucs["choirrec"], aucs["din"], seed=0)
    return {name: _plain(value) for name, value in asdict(difference).items()}
