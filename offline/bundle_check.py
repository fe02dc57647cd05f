"""The bundle check: everything that the service checks of a bundle, without a service."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.bundle import BrokenBundle, Bundle, open_bundle
from model.golden import Golden, GoldenRequest, WrongAnswers, check_answers
from offline.golden_requests import request_arrays
from offline.parity import GraphRunner, Logits, UnusableGraphs

PROVIDER = "CPUExecutionProvider"
Floats = NDArray[np.float32]


def check_bundle(folder: Path) -> Bundle:
    """Open a bundle and run it on its golden requests and on every prior of its snapshot.

    Args:
        folder: a private copy.

    Returns:
        The bundle.

    Raises:
        BrokenBundle: with the words of the service.
    """
    bundle = open_bundle(folder)
    tolerance = bundle.manifest.tolerances.get(PROVIDER)
    if tolerance is None:
        raise BrokenBundle(
            f"no tolerance for {PROVIDER}; the manifest has {sorted(bundle.manifest.tolerances)}"
        )
    runner = graph_runner(bundle)
    for number, golden in enumerate(bundle.golden):
        _check_golden(bundle, runner, golden, number, tolerance)
    snapshot = bundle.prior_snapshot
    first = bundle.golden[0]
    for prefix, group in snapshot.records.items():
        unknown = replace(first, user=None, group=group, group_as_of_s=snapshot.as_of_s)
        _check_finite(answer(bundle, runner, unknown), f"prior_snapshot.json, prefix {prefix}")
    return bundle


def graph_runner(bundle: Bundle) -> GraphRunner:
    """The bundle's graphs in ONNX Runtime.

    Raises:
        BrokenBundle: when it refuses them.
    """
    try:
        return GraphRunner(bundle.graphs)
    except UnusableGraphs as error:
        raise BrokenBundle(str(error)) from error


def answer(bundle: Bundle, runner: GraphRunner, request: GoldenRequest) -> Logits:
    """What a bundle says to a request, from the request's own records.

    Args:
        bundle: the bundle.
        runner: its graphs.
        request: C candidates.

    Returns:
        Its logits and alpha_fusion, R = 1.

    Raises:
        BrokenBundle: when the graphs cannot run.
    """
    users, groups, rows = request_arrays(bundle.spec, bundle.catalogue, request)
    inputs = {
        **bundle.tables.user_inputs(users),
        **bundle.tables.group_inputs(groups),
        "activity": users.activity,
        "candidates": bundle.tables.item_tokens[rows],
    }
    try:
        return runner.run(inputs)
    except UnusableGraphs as error:
        raise BrokenBundle(str(error)) from error


def _check_golden(
    bundle: Bundle, runner: GraphRunner, golden: Golden, number: int, tolerance: float
) -> None:
    found = answer(bundle, runner, golden)
    alpha = found.alpha_fusion
    if alpha.shape != (1, 1):
        raise BrokenBundle(f"golden request {number}: alpha_fusion of shape {alpha.shape}")
    try:
        check_answers(
            golden, found.individual_logit[0], found.group_logit[0], float(alpha[0, 0]), tolerance
        )
    except WrongAnswers as error:
        raise BrokenBundle(f"golden request {number}: {error}") from error


def _check_finite(logits: Logits, place: str) -> None:
    if not all(np.isfinite(array).all() for array in logits.arrays):
        raise BrokenBundle(f"{place}: the graphs give a logit that is not finite")
