"""The golden check: a loaded version must reproduce its training's logits on this machine."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.assembly import group_arrays
from model.bundle import Bundle
from model.golden import Golden
from service.errors import LoadRefused
from service.scorer import Moment, NonFinite, Scorer

WARM_UP_SIZES = (1, 50, 500)
"""Candidates per request of the warm-up."""


def check_golden(bundle: Bundle, scorer: Scorer, provider: str) -> None:
    """Score every golden request as a served one and compare.

    Args:
        bundle: the bundle, with its golden requests and tolerances.
        scorer: the scorer made from it.
        provider: the execution provider in use.

    Raises:
        LoadRefused: when there is no golden request or no tolerance for the provider, or naming
            the request, the value and what was expected.
    """
    tolerances = bundle.manifest.tolerances
    if provider not in tolerances:
        raise LoadRefused(f"no tolerance for {provider}; the manifest has {sorted(tolerances)}")
    if not bundle.golden:
        raise LoadRefused("golden.json holds no request, so nothing can be checked; export again")
    for number, golden in enumerate(bundle.golden):
        _check_one(bundle, scorer, golden, number, tolerances[provider])


def warm_up(bundle: Bundle, scorer: Scorer) -> None:
    """Score at several sizes, so that the first callers find warm graphs, and by the snapshot.

    Args:
        bundle: the bundle, with at least one golden request.
        scorer: the scorer made from it.

    Raises:
        LoadRefused: when the snapshot cannot answer an unknown user: nothing else would be left
            on the day that Redis is gone.
    """
    golden = bundle.golden[0]
    for size in WARM_UP_SIZES:
        repeated = list(golden.item_ids) * -(-size // len(golden.item_ids))
        _score(bundle, scorer, golden, repeated[:size])
    snapshot = bundle.prior_snapshot
    for prefix, group in snapshot.records.items():
        last_resort = replace(golden, user=None, group=group, group_as_of_s=snapshot.as_of_s)
        try:
            _score(bundle, scorer, last_resort, [golden.item_ids[0]])
        except NonFinite as error:
            raise LoadRefused(f"prior_snapshot.json, prefix {prefix}: {error}") from error


def _check_one(
    bundle: Bundle, scorer: Scorer, golden: Golden, number: int, tolerance: float
) -> None:
    try:
        individual, group, alpha = _score(bundle, scorer, golden, list(golden.item_ids))
    except NonFinite as error:
        raise LoadRefused(f"golden request {number}: {error}") from error
    columns = [
        ("individual_logit", individual, golden.individual_logits),
        ("group_logit", group, golden.group_logits),
        ("alpha_fusion", np.array([alpha]), (golden.alpha_fusion,)),
    ]
    for name, found, expected in columns:
        for place, (value, wanted) in enumerate(zip(found.tolist(), expected, strict=True)):
            if not abs(value - wanted) <= tolerance * max(1.0, abs(wanted)):
                raise LoadRefused(
                    f"golden request {number}, candidate {place}: {name} {value:.8g}, expected "
                    f"{wanted:.8g} within {tolerance:g}; export the bundle again"
                )
    if not (math.isfinite(alpha) and 0.0 <= alpha <= 1.0):
        raise LoadRefused(f"golden request {number}: alpha_fusion {alpha}, expected 0..1")


def _score(
    bundle: Bundle, scorer: Scorer, golden: Golden, item_ids: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    arrays = group_arrays(bundle.spec, bundle.catalogue, [golden.group], golden.group_as_of_s)
    prior = bundle.tables.group_inputs(arrays)
    moment = Moment(golden.request_time_s, golden.hour, golden.weekday)
    candidates = scorer.candidates(scorer.resolve(item_ids), {})
    scores = scorer.score(*scorer.user_side(golden.user, moment), prior, candidates.tokens)
    return scores.individual_logits, scores.group_logits, scores.alpha_fusion
