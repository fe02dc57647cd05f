"""The answer: from checked calls to columns, by one served model."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model.tables import Inputs
from service.api.wire import Call
from service.errors import ScoringFailed
from service.features.reader import Ask, Evidence
from service.lifecycle.served_model import ServedModel
from service.metrics import Metrics
from service.scorer import Candidates, NonFinite, Resolved, Scores


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer and what it rests on."""

    columns: dict[str, Any]
    """As ``service.api.wire.ScoreResponse`` describes it, with numpy columns."""
    evidence: Evidence


async def answer(served: ServedModel, calls: Sequence[Call], metrics: Metrics) -> list[Answer]:
    """Answer R calls.

    Args:
        served: the model, leased by the caller until the answer is sent.
        calls: R checked calls.
        metrics: counts what the answers rest on.

    Returns:
        R answers.

    Raises:
        InvalidRequest: when a call tells attributes that the model does not have.
        ScoringFailed: when the graphs give no finite score even for an unknown user.
    """
    started_s = time.perf_counter()
    resolved = [served.scorer.resolve(call.item_ids) for call in calls]
    stand_ins = [served.newcomers.stand_in(call.attributes, call.place) for call in calls]
    triples = zip(calls, resolved, stand_ins, strict=True)
    asks = [Ask(call.user_id, known.outside, stand_in) for call, known, stand_in in triples]
    evidence = await served.reader.read(asks)
    metrics.stage_duration.observe(time.perf_counter() - started_s, "fetch")
    answers: list[Answer] = []
    for call, known, found in zip(calls, resolved, evidence, strict=True):
        if answers:
            await asyncio.sleep(0)  # a long batch lets others in between its requests
        answers.append(_one(served, call, known, found, metrics))
    return answers


def _one(
    served: ServedModel, call: Call, resolved: Resolved, evidence: Evidence, metrics: Metrics
) -> Answer:
    started_s = time.perf_counter()
    candidates = served.scorer.candidates(resolved, evidence.new_items)
    if "unknown" in candidates.counts:
        evidence.degraded.append("item_unknown")
    user = served.scorer.user_side(evidence.user, call.moment)
    assembled_s = time.perf_counter()
    try:
        scores = served.scorer.score(*user, evidence.prior.inputs, candidates.tokens)
    except NonFinite:
        scores = _without_records(served, call, evidence, candidates)
    metrics.stage_duration.observe(assembled_s - started_s, "assemble")
    metrics.stage_duration.observe(time.perf_counter() - assembled_s, "infer")
    _count(evidence, candidates, scores, metrics)
    served.tally.scored(scores.scores, scores.alpha_fusion, evidence.activity_level)
    return Answer(_columns(served, call, evidence, candidates, scores), evidence)


def _without_records(
    served: ServedModel, call: Call, evidence: Evidence, candidates: Candidates
) -> Scores:
    """Score as for an unknown user with the bundle's own prior.

    A record may fit its schema and still hold values beyond what the graphs can take.
    """
    evidence.user, evidence.user_status, evidence.activity_level = None, "unavailable", None
    evidence.confidence = None
    evidence.prior, evidence.step = served.reader.snapshot(), "prior_snapshot"
    evidence.degraded += ["record_unusable", "prior_snapshot"]
    user = served.scorer.user_side(None, call.moment)
    inputs: Inputs = evidence.prior.inputs
    try:
        return served.scorer.score(*user, inputs, candidates.tokens)
    except NonFinite as error:
        raise ScoringFailed(f"model version {served.version}: {error}") from error


def _count(evidence: Evidence, candidates: Candidates, scores: Scores, metrics: Metrics) -> None:
    for reason in evidence.degraded:
        metrics.degraded[reason].inc()
    metrics.ladder_steps[evidence.step].inc()
    for status, count in candidates.counts.items():
        metrics.items[status].inc(count)
    metrics.score.observe_all(scores.scores)
    if evidence.activity_level is not None:
        metrics.alpha_fusion.observe(scores.alpha_fusion, str(evidence.activity_level))


def _columns(
    served: ServedModel, call: Call, evidence: Evidence, candidates: Candidates, scores: Scores
) -> dict[str, Any]:
    level, user = evidence.activity_level, evidence.user
    return {
        "item_ids": call.item_ids,
        "scores": scores.scores,
        "individual_logits": scores.individual_logits,
        "group_logits": scores.group_logits,
        "fused_logits": scores.fused_logits,
        "item_status": candidates.statuses,
        "alpha_fusion": scores.alpha_fusion,
        "user": {
            "status": evidence.user_status,
            "activity_level": "unknown" if level is None else level,
            "group_id": served.scorer.group_id(user) if user else [],
            "confidence": evidence.confidence,
            "prefix_used": evidence.prior.prefix,
        },
        "model_version": served.version,
        "generation": served.generation_name,
        "bundle_digest": served.bundle_digest,
        "request_id": call.request_id,
        "degraded": evidence.degraded,
    }
