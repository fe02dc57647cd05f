"""The golden check: a loaded version must reproduce its training's logits on this machine."""

import numpy as np
from numpy.typing import NDArray

from model.assembly import group_arrays
from model.bundle import Bundle
from model.golden import Golden, WrongAnswers, check_answers
from service.errors import LoadRefused
from service.lifecycle.rests import Rests
from service.scorer import Moment, NonFinite, Scorer


def check_golden(bundle: Bundle, scorer: Scorer, provider: str, rests: Rests) -> None:
    """Score every golden request as a served one and compare.

    Args:
        bundle: the bundle, with its golden requests and tolerances.
        scorer: the scorer made from it.
        provider: the execution provider in use.
        rests: taken after each request.

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
        rests.take()


def score_golden(
    bundle: Bundle, scorer: Scorer, golden: Golden, item_ids: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Score a golden request as a served one, from its own records.

    Args:
        bundle: the bundle.
        scorer: the scorer made from it.
        golden: the request and its records.
        item_ids: C candidates.

    Returns:
        ``individual_logit`` and ``group_logit``, float32 ``[C]``, and alpha_fusion.

    Raises:
        NonFinite: when any of them is NaN or infinite.
    """
    arrays = group_arrays(bundle.spec, bundle.catalogue, [golden.group], golden.group_as_of_s)
    prior = bundle.tables.group_inputs(arrays)
    moment = Moment(golden.request_time_s, golden.hour, golden.weekday)
    candidates = scorer.candidates(scorer.resolve(item_ids), {})
    scores = scorer.score(*scorer.user_side(golden.user, moment), prior, candidates.tokens)
    return scores.individual_logits, scores.group_logits, scores.alpha_fusion


def _check_one(
    bundle: Bundle, scorer: Scorer, golden: Golden, number: int, tolerance: float
) -> None:
    try:
        individual, group, alpha = score_golden(bundle, scorer, golden, list(golden.item_ids))
        check_answers(golden, individual, group, alpha, tolerance)
    except (NonFinite, WrongAnswers) as error:
        raise LoadRefused(f"golden request {number}: {error}") from error
    except Exception as error:  # a runtime's exceptions share no base of their own
        raise LoadRefused(
            f"golden request {number}: the graphs cannot answer it ({error}); export again"
        ) from error
