"""The comparer: a sibling of the workers that answers samples with champion and challenger."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from model.desired import Canary, Desired, Target
from model.repository import Repository
from service.api.answer import Answer, answer
from service.api.wire import Call
from service.comparison.counts import SIDES, ComparisonReport, ComparisonTally
from service.comparison.differences import Floats, difference
from service.comparison.samples import Sample
from service.errors import ServiceError
from service.features.breaker import GuardedStore
from service.features.redis_store import RedisStore
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle.lifecycle import Lifecycle
from service.lifecycle.loading import BundleLoader
from service.lifecycle.served_model import ServedModel
from service.metrics import Metrics
from service.scorer import Moment
from service.settings import Settings

FETCH_BUDGET_MS = 500.0
"""Time for records: nobody waits for a comparison, and it waits for the cores."""
_UNAVAILABLE = frozenset(("redis_timeout", "redis_unavailable", "record_unusable"))
"""Reasons for which an answer says nothing of its model."""

_log = logging.getLogger("choirrec")


def challenger_of(desired: Desired, comparison: str) -> Target | None:
    """Whom a comparison holds against the champion; None: nobody.

    Args:
        desired: the document.
        comparison: ``canary`` or ``shadow``.
    """
    role = desired.canary if comparison == "canary" else desired.shadow
    return None if role is None else role.target


class Comparer:
    """Holds both models and counts what differs. Every method belongs to the event loop's thread.

    What it holds is steered by the workers' own lifecycle, to which the challenger is a canary for
    nobody: the same checks, the same reasons, the same attempts.
    """

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, comparison: str) -> None:
        """Begin with nothing.

        Args:
            lifecycle: of this process alone.
            metrics: what answering counts; exposed to nobody, since nobody was answered.
            comparison: ``canary`` or ``shadow``.
        """
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._comparison = comparison
        self._pair: tuple[str, str] = ("", "")
        self._since_s = time.time()
        self._tally = ComparisonTally()
        self._turn = 0

    def follow(self, desired: Desired) -> None:
        """Compare as a desired state says; counting begins anew with another pair."""
        challenger = challenger_of(desired, self._comparison)
        if challenger is None:
            return  # whoever wrote it ends this process, too
        pair = (str(desired.champion), str(challenger))
        if pair != self._pair:
            self._pair, self._since_s, self._tally = pair, time.time(), ComparisonTally()
        self._lifecycle.reconcile(
            replace(
                desired,
                previous=None,
                candidate=None,
                canary=Canary(challenger, 0.0),
                shadow=None,
            )
        )

    async def compare(self, sample: Sample) -> None:
        """Answer one request with both, and count what differs.

        Raises:
            Exception: whatever a side fails with that is no ``ServiceError``; counted, too.
        """
        tally, roles = self._tally, self._lifecycle.roles
        champion, challenger = roles.champion, roles.canary
        if champion is None or challenger is None or self._pair != _names(champion, challenger):
            tally.outcomes["waiting"] += 1
            return
        try:
            with champion, challenger:
                sides = dict(zip(SIDES, (champion, challenger), strict=True))
                answers, seconds = await self._answers(sides, sample)
        except ServiceError as error:
            _log.debug("sample %s: %s", sample.request_id, error.detail)
            tally.outcomes["failed"] += 1
            return
        except Exception:  # a runtime's exceptions share no base of their own
            tally.outcomes["failed"] += 1
            raise
        first, second = (answers[side] for side in SIDES)
        level = first.evidence.activity_level
        if level is None or _UNAVAILABLE & {*first.evidence.degraded, *second.evidence.degraded}:
            tally.outcomes["unavailable"] += 1
            return
        tally.compared(level, difference(_columns(first), _columns(second)), seconds)

    def report(self) -> ComparisonReport:
        """What was found of the present pair, and how both stand."""
        champion, challenger = self._pair
        return ComparisonReport(
            champion=champion,
            challenger=challenger,
            since_s=self._since_s,
            targets=self._lifecycle.state().targets,
            outcomes=dict(self._tally.outcomes),
            levels=dict(self._tally.levels),
            seconds={side: tuple(counts) for side, counts in self._tally.seconds.items()},
            seconds_sum=dict(self._tally.seconds_sum),
        )

    async def _answers(
        self, sides: Mapping[str, ServedModel], sample: Sample
    ) -> tuple[dict[str, Answer], dict[str, float]]:
        """By side: its answer, and the time it took."""
        call = _call(sample)
        answers: dict[str, Answer] = {}
        seconds: dict[str, float] = {}
        # They take turns in going first, so that neither always finds what the other has fetched.
        self._turn += 1
        for side in SIDES if self._turn % 2 else reversed(SIDES):
            began_s = time.perf_counter()
            (answers[side],) = await answer(sides[side], [call], self._metrics)
            seconds[side] = time.perf_counter() - began_s
        return answers, seconds


def compose_comparer(settings: Settings, comparison: str) -> tuple[Comparer, Lifecycle]:
    """Wire every part; nothing is opened yet.

    Args:
        settings: those of the workers.
        comparison: ``canary`` or ``shadow``.

    Returns:
        The comparer, and the lifecycle to start and stop with it.

    Raises:
        ValueError: when a setting names something unusable.
    """
    patient = settings.model_copy(update={"fetch_budget_ms": FETCH_BUDGET_MS})
    metrics = Metrics()
    redis = RedisStore(settings.redis_url, metrics.round_trips)
    loader = BundleLoader(
        Repository(settings.repository),
        settings.store,
        OnnxRuntimeBackend(settings.threads),
        settings.chunk,
    )
    store = GuardedStore(redis, metrics.breaker_open)
    lifecycle = Lifecycle(patient, loader, store, metrics)
    return Comparer(lifecycle, metrics, comparison), lifecycle


def _names(champion: ServedModel, challenger: ServedModel) -> tuple[str, str]:
    """Both targets; one that answers by its snapshot alone has no name to be compared under."""
    return _name(champion), _name(challenger)


def _name(served: ServedModel) -> str:
    return f"{served.version}/{served.generation_name}" if served.generation else ""


def _columns(answered: Answer) -> tuple[Floats, Floats]:
    """Fused logits and scores, float32 ``[C]`` each."""
    return answered.columns["fused_logits"], answered.columns["scores"]


def _call(sample: Sample) -> Call:
    return Call(
        user_id=sample.user_id,
        item_ids=sample.item_ids,
        moment=Moment(sample.time_s, sample.hour, sample.weekday),
        attributes=sample.attributes,
        request_id=sample.request_id,
    )
