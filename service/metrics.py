"""Every metric of the service: names, help texts, labels and their bounded values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)

from service.histogram import Histogram

disable_created_metrics()  # type: ignore[no-untyped-call]

ROUTES = ("score", "batch", "feedback", "models", "health", "docs", "other")
STAGES = ("parse", "fetch", "assemble", "infer", "encode")
DEGRADED = (
    "redis_timeout",
    "redis_unavailable",
    "no_generation",
    "user_unknown",
    "newcomer",
    "user_record_corrupt",
    "group_record_missing",
    "group_record_corrupt",
    "item_record_corrupt",
    "item_unknown",
    "prior_snapshot",
    "record_unusable",
)
"""Reasons for which an answer may rest on less than it could."""
LADDER = (
    "user_and_group",
    "user_and_prefix_group",
    "newcomer_and_group",
    "global_prior",
    "prior_snapshot",
)
"""Steps of the ladder, from the best to the last."""
RECORD_KINDS = ("user", "group", "item")
ITEM_STATUSES = ("known", "new", "unknown")
VERDICTS = ("ready", "refused")
ROLES = ("champion", "canary")
"""What answers callers."""
RESIDENT_ROLES = (*ROLES, "candidate", "previous", "draining")
"""What a worker holds a model as; the first that applies."""
TARGET_STATES = (
    *("fetching", "verifying", "loading", "golden", "warming"),
    *("ready", "active", "draining", "failed"),
)
LOGS = ("served", "outcomes")
"""What the served log holds."""
COMPARISONS = ("canary", "shadow")
SAMPLE_OUTCOMES = ("sent", "dropped")
ACTIVITY_LEVELS = ("1", "2", "3", "4", "5")

LATENCY_EDGES_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05),
    *(0.075, 0.1, 0.25, 0.5, 1.0, 2.5),
)
_SHARES = tuple(n / 20 for n in range(1, 21))
_SCORES = (*(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075), *(n / 10 for n in range(1, 11)))
_AGES_S = tuple(float(hours * 3600) for hours in (1, 6, 12, 24, 36, 48, 72, 168, 336, 720))


@dataclass(frozen=True)
class _Spec:
    """Name, kind, help text and labels of one metric; labels map to their possible values."""

    name: str
    kind: str
    text: str
    labels: Mapping[str, Sequence[str]]
    edges: Sequence[float] = ()


_HTTP_CODES = ("HTTP status",)
_FREE = ("of the model",)

_SPECS = (
    _Spec(
        "choirrec_requests_total",
        "counter",
        "Requests answered, by route and status; 499: the caller left first.",
        {"route": ROUTES, "code": _HTTP_CODES},
    ),
    _Spec(
        "choirrec_request_duration_seconds",
        "histogram",
        "Time from the first byte of a scoring call handed over to its last byte sent.",
        {"route": ("score", "batch")},
        LATENCY_EDGES_S,
    ),
    _Spec(
        "choirrec_stage_duration_seconds",
        "histogram",
        "Time of one stage of a scoring call.",
        {"stage": STAGES},
        LATENCY_EDGES_S,
    ),
    _Spec("choirrec_in_flight_requests", "gauge", "Scoring calls being answered now.", {}),
    _Spec(
        "choirrec_degraded_total",
        "counter",
        "Answers that rest on less than they could, by reason; one answer may have several.",
        {"reason": DEGRADED},
    ),
    _Spec(
        "choirrec_ladder_steps_total",
        "counter",
        "Answers by the step of the ladder that gave their group prior.",
        {"step": LADDER},
    ),
    _Spec(
        "choirrec_corrupt_records_total",
        "counter",
        "Records that were damaged or did not fit the bundle, and were treated as missing.",
        {"kind": RECORD_KINDS},
    ),
    _Spec("choirrec_items_total", "counter", "Candidates scored.", {"status": ITEM_STATUSES}),
    _Spec(
        "choirrec_alpha_fusion",
        "histogram",
        "alpha_fusion of answers, by the user's activity level; users of unknown level left out.",
        {"activity_level": ACTIVITY_LEVELS},
        _SHARES,
    ),
    _Spec("choirrec_score", "histogram", "Scores of candidates.", {}, _SCORES),
    _Spec(
        "choirrec_record_age_seconds",
        "histogram",
        "Age of the user records that answers rest on.",
        {},
        _AGES_S,
    ),
    _Spec("choirrec_redis_round_trips_total", "counter", "Round trips to Redis begun.", {}),
    _Spec(
        "choirrec_redis_breaker_open",
        "gauge",
        "1 while Redis is left alone after repeated failures, else 0.",
        {},
    ),
    _Spec(
        "choirrec_model_info",
        "gauge",
        "1 for every model that is held ready, by its role; the champion answers.",
        {
            "role": RESIDENT_ROLES,
            "version": _FREE,
            "generation": _FREE,
            "bundle_digest": _FREE,
            "provider": _FREE,
        },
    ),
    _Spec(
        "choirrec_targets",
        "gauge",
        "Targets (a version with a generation) that this worker holds or tries to, by state.",
        {"state": TARGET_STATES},
    ),
    _Spec(
        "choirrec_role_calls_total",
        "counter",
        "Calls answered, by the role of what answered; each request of a batch is a call.",
        {"role": ROLES},
    ),
    _Spec(
        "choirrec_role_errors_total",
        "counter",
        "Calls that ended with status 500 or above, by the role of what answered.",
        {"role": ROLES},
    ),
    _Spec(
        "choirrec_samples_total",
        "counter",
        "Requests drawn for a comparison, by whether it could take them.",
        {"comparison": COMPARISONS, "outcome": SAMPLE_OUTCOMES},
    ),
    _Spec(
        "choirrec_model_loads_total",
        "counter",
        "Loads of a model version or generation, by verdict.",
        {"verdict": VERDICTS},
    ),
    _Spec(
        "choirrec_log_rows_total",
        "counter",
        "Rows of the served log that stand in whole files.",
        {"log": LOGS},
    ),
    _Spec(
        "choirrec_log_dropped_rows_total",
        "counter",
        "Rows of the served log that were lost: no room to wait, or a disk that failed.",
        {"log": LOGS},
    ),
)


class ModelName(NamedTuple):
    """What ``choirrec_model_info`` says of one model."""

    role: str
    version: str
    generation: str
    bundle_digest: str
    """Its first characters."""
    provider: str


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        specs = {
            spec.name.removeprefix("choirrec_").removesuffix("_total"): spec for spec in _SPECS
        }
        self._requests = self._counter(specs["requests"])
        self.request_duration = self._histogram(specs["request_duration_seconds"])
        self.stage_duration = self._histogram(specs["stage_duration_seconds"])
        self.in_flight = self._gauge(specs["in_flight_requests"])
        self.degraded = _series(self._counter(specs["degraded"]), DEGRADED)
        self.ladder_steps = _series(self._counter(specs["ladder_steps"]), LADDER)
        self.corrupt_records = self._counter(specs["corrupt_records"])
        self.items = _series(self._counter(specs["items"]), ITEM_STATUSES)
        self.alpha_fusion = self._histogram(specs["alpha_fusion"])
        self.score = self._histogram(specs["score"])
        self.record_age = self._histogram(specs["record_age_seconds"])
        self.round_trips = self._counter(specs["redis_round_trips"])
        self.breaker_open = self._gauge(specs["redis_breaker_open"])
        self.model_loads = self._counter(specs["model_loads"])
        self.log_rows = self._counter(specs["log_rows"])
        self.log_dropped_rows = self._counter(specs["log_dropped_rows"])
        self.samples = self._counter(specs["samples"])
        self.role_calls = _series(self._counter(specs["role_calls"]), ROLES)
        self.role_errors = _series(self._counter(specs["role_errors"]), ROLES)
        self._targets = self._gauge(specs["targets"])
        self._model_info = self._gauge(specs["model_info"])

    @cache  # noqa: B019 - metrics live as long as their process
    def requests(self, route: str, status: int) -> Counter:
        """The counter of requests of a route that ended with a status."""
        return self._requests.labels(route, str(status))

    def name_models(self, models: Iterable[ModelName]) -> None:
        """Say which models are held from now on."""
        self._model_info.clear()
        for model in models:
            self._model_info.labels(*model).set(1)

    def count_targets(self, states: Sequence[str]) -> None:
        """Say in which states the targets are from now on, one entry each."""
        for state in TARGET_STATES:
            self._targets.labels(state).set(states.count(state))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, spec: _Spec) -> Counter:
        counter = Counter(spec.name, spec.text, list(spec.labels), registry=self.registry)
        if "code" not in spec.labels:
            for values in _label_values(spec):
                counter.labels(
                    *values
                )  # a series that is there at 0 lets rate() see its first step
        return counter

    def _gauge(self, spec: _Spec) -> Gauge:
        return Gauge(spec.name, spec.text, list(spec.labels), registry=self.registry)

    def _histogram(self, spec: _Spec) -> Histogram:
        histogram = Histogram(spec.name, spec.text, spec.labels, spec.edges)
        self.registry.register(histogram)
        return histogram


def _series(counter: Counter, values: Sequence[str]) -> Mapping[str, Counter]:
    """A counter by its label's value: to look it up each time takes longer than to count."""
    return {value: counter.labels(value) for value in values}


def metrics_table() -> str:
    """The table of metrics as Markdown, for the documentation."""
    rows = [f"| `{s.name}` | {s.kind} | {_labels(s)} | {s.text} |" for s in _SPECS]
    head = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _labels(spec: _Spec) -> str:
    return "; ".join(f"`{name}`: {', '.join(values)}" for name, values in spec.labels.items())


def _label_values(spec: _Spec) -> list[tuple[str, ...]]:
    return list(product(*spec.labels.values())) if spec.labels else []
