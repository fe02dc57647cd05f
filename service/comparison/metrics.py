"""The metrics of a comparison, as its process exposes them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from service.comparison.counts import (
    CORRELATION_EDGES,
    DIFFERENCE_EDGES,
    OUTCOMES,
    SIDES,
    ComparisonReport,
)
from service.metrics import ACTIVITY_LEVELS, LATENCY_EDGES_S

_LEVEL = "activity_level"
READY = ("ready", "active")


@dataclass(frozen=True)
class _Spec:
    """Name, kind, help text and label of one metric."""

    name: str
    kind: str
    text: str
    label: str = ""
    values: Sequence[str] = ()


_READY = _Spec(
    "choirrec_comparison_ready",
    "gauge",
    "1 while champion and challenger are both loaded by the comparison, else 0.",
)
_SAMPLES = _Spec(
    "choirrec_comparison_samples_total",
    "counter",
    "Samples that reached the comparison, by what became of them.",
    "outcome",
    OUTCOMES,
)
_DIFFERENCE = _Spec(
    "choirrec_comparison_score_difference",
    "histogram",
    "The challenger's score of a candidate minus the champion's.",
    _LEVEL,
    ACTIVITY_LEVELS,
)
_CORRELATION = _Spec(
    "choirrec_comparison_rank_correlation",
    "histogram",
    "Spearman's correlation of the two rankings of one request's candidates.",
    _LEVEL,
    ACTIVITY_LEVELS,
)
_DIFFERING = _Spec(
    "choirrec_comparison_differing_answers_total",
    "counter",
    "Compared answers in which a score differs by more than rounding.",
    _LEVEL,
    ACTIVITY_LEVELS,
)
_FIRST = _Spec(
    "choirrec_comparison_first_differs_total",
    "counter",
    "Compared answers in which another candidate stands first.",
    _LEVEL,
    ACTIVITY_LEVELS,
)
_TEN = _Spec(
    "choirrec_comparison_ten_differ_total",
    "counter",
    "Sum over answers of the share of the champion's first ten that the challenger's lack.",
    _LEVEL,
    ACTIVITY_LEVELS,
)
_SECONDS = _Spec(
    "choirrec_comparison_duration_seconds",
    "histogram",
    "Time of one answer in the comparison's process, which runs at the lowest priority.",
    "side",
    SIDES,
)
_SPECS = (_READY, _SAMPLES, _DIFFERENCE, _CORRELATION, _DIFFERING, _FIRST, _TEN, _SECONDS)


def comparison_exposition(report: ComparisonReport) -> str:
    """All metrics in Prometheus' text format.

    Args:
        report: what has been counted of the present pair.
    """
    return "".join(f"{line}\n" for spec in _SPECS for line in _family(spec, report))


def comparison_metrics_table() -> str:
    """The table of these metrics as Markdown, for the documentation."""
    rows = [f"| `{s.name}` | {s.kind} | {_labels(s)} | {s.text} |" for s in _SPECS]
    head = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


def is_ready(report: ComparisonReport) -> bool:
    """Whether both sides are loaded."""
    ready = {t.name for t in report.targets if t.state in READY}
    return {report.champion, report.challenger} <= ready


def _family(spec: _Spec, report: ComparisonReport) -> Iterator[str]:
    yield f"# HELP {spec.name} {spec.text}"
    yield f"# TYPE {spec.name} {spec.kind}"
    if spec is _READY:
        yield f"{spec.name} {int(is_ready(report))}"
    elif spec is _SECONDS:
        for side in SIDES:
            counts = report.seconds.get(side, ())
            yield from _buckets(
                spec, side, counts, LATENCY_EDGES_S, report.seconds_sum.get(side, 0.0)
            )
    elif spec in (_DIFFERENCE, _CORRELATION):
        yield from _level_buckets(spec, report)
    else:
        for value, number in _numbers(spec, report).items():
            yield f'{spec.name}{{{spec.label}="{value}"}} {number}'


def _level_buckets(spec: _Spec, report: ComparisonReport) -> Iterator[str]:
    for level, counts in report.levels.items():
        if spec is _DIFFERENCE:
            yield from _buckets(
                spec, level, counts.difference, DIFFERENCE_EDGES, counts.difference_sum
            )
        else:
            yield from _buckets(
                spec, level, (*counts.correlation, 0), CORRELATION_EDGES, counts.correlation_sum
            )


def _numbers(spec: _Spec, report: ComparisonReport) -> Mapping[str, float]:
    if spec is _SAMPLES:
        return {outcome: report.outcomes.get(outcome, 0) for outcome in OUTCOMES}
    levels = report.levels.items()
    if spec is _DIFFERING:
        return {level: counts.differing for level, counts in levels}
    if spec is _FIRST:
        return {level: counts.first_differs for level, counts in levels}
    return {level: counts.tens_differ for level, counts in levels}


def _buckets(
    spec: _Spec, value: str, counts: Sequence[int], edges: Sequence[float], total: float
) -> Iterator[str]:
    label = f'{spec.label}="{value}"'
    bounds = [*map(repr, edges), "+Inf"]
    found = list(accumulate(counts or [0] * len(bounds)))
    for bound, number in zip(bounds, found, strict=True):
        yield f'{spec.name}_bucket{{{label},le="{bound}"}} {number}'
    yield f"{spec.name}_count{{{label}}} {found[-1]}"
    yield f"{spec.name}_sum{{{label}}} {total}"


def _labels(spec: _Spec) -> str:
    return f"`{spec.label}`: {', '.join(spec.values)}" if spec.label else ""
