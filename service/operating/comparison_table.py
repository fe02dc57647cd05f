"""The comparison for people: what a canary or shadow changes in the answers, by activity level."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.operating.tables import table

_HEAD = (
    *("level", "answers", "differing", "mean difference", "|difference| p50", "p99"),
    *("rank correlation", "p05", "other first", "first ten"),
)


def comparison_text(found: Mapping[str, Any]) -> str:
    """What was compared, and the guard's present window.

    Args:
        found: the answer of the admin port.
    """
    lines: list[str] = []
    for name, pairs in found["comparisons"].items():
        for pair in pairs:
            lines += [*_pair_lines(name, pair), ""]
    if not lines:
        lines += ["nothing is being compared; a canary or a shadow begins a comparison", ""]
    return "\n".join([*lines, *_guard_lines(found["guard"])]).rstrip()


def _pair_lines(name: str, pair: Mapping[str, Any]) -> Iterable[str]:
    if not pair["challenger"]:
        yield f"{name}: a replica's comparison has just begun, and does not know its targets yet"
        return
    yield f"{name} {pair['challenger']} beside champion {pair['champion']}"
    samples = ", ".join(f"{number} {outcome}" for outcome, number in pair["samples"].items())
    yield f"samples: {samples or 'none yet'}"
    for target in pair["targets"]:
        if target["state"] not in ("ready", "active", "draining"):
            reason = f": {target['reason']}" if target["reason"] else ""
            yield f"{target['target']} is {target['state']}{reason}"
    for side, times in pair["latency"].items():
        yield f"{side}: p50 {_ms(times['p50_ms'])}, p99 {_ms(times['p99_ms'])}"
    rows = [_row(level, figures) for level, figures in pair["levels"].items()]
    if rows:
        yield ""
        yield from table(_HEAD, rows)


def _row(level: str, figures: Mapping[str, Any]) -> tuple[Any, ...]:
    size, correlation = figures["absolute"], figures["rank_correlation"]
    return (
        level,
        figures["answers"],
        _percent(figures["differing"]),
        f"{figures['difference']['mean']:+.2e}",
        _number(size["p50"]),
        _number(size["p99"]),
        _number(correlation["mean"]),
        _number(correlation["p05"]),
        _percent(figures["first_differs"]),
        _percent(figures["ten_differ"]),
    )


def _guard_lines(guard: Mapping[str, Any] | None) -> list[str]:
    if guard is None:
        return []
    calls = guard["calls"]
    said = (
        f"guard: {guard['windows']} windows of {guard['canary']} without a fault; the present one "
        f"has {calls['canary']} calls of the canary and {calls['champion']} of the champion, "
        f"{calls['least']} of each are needed"
    )
    unjudged = (f"guard: drift and alpha_fusion are NOT judged: {why}" for why in guard["unjudged"])
    return [said, *unjudged]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"at most {value:g} ms"
