"""Telling: online figures as Markdown for people and as JSON for programs."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from offline.evidence.statistics import Interval
from offline.online.ab import ARMS, METRICS, Experiment, Gain
from offline.online.arms import FIGURES, Figures
from offline.online.joined import SEGMENTS, Joined

_NONE = "-"
_PAPER = ("low activity", "high activity", "all users")
"""Columns of the paper's Table 3, in its order."""


@dataclass(frozen=True, eq=False)
class Online:
    """All that is told of one log."""

    log: str
    within_hours: float
    joined: Joined
    figures: Sequence[Figures]
    experiments: Sequence[Experiment]


def as_json(online: Online) -> str:
    """JSON; a figure that is not defined is null."""
    joined = online.joined
    document = {
        "log": online.log,
        "within_hours": online.within_hours,
        "rows": joined.rows,
        "first_request_s": joined.span_s[0],
        "last_request_s": joined.span_s[1],
        "counts": dict(joined.counts),
        "arms": [asdict(one) for one in online.figures],
        "experiments": [asdict(one) for one in online.experiments],
    }
    return json.dumps(_plain(document), indent=1, allow_nan=False)


def as_markdown(online: Online) -> str:
    """Markdown: what was read, the arms, and an A/B table per experiment."""
    parts = [*_head(online), *_arms(online.figures)]
    for experiment in online.experiments:
        parts += _experiment(experiment)
    if not online.experiments:
        parts += ["## A/B", "", "No canary answered a share of the users in this log.", ""]
    return "\n".join(parts)


def _plain(value: Any) -> Any:
    """The same without NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _head(online: Online) -> Iterator[str]:
    first, last = (_moment(one) for one in online.joined.span_s)
    yield "# Online figures"
    yield ""
    yield (
        f"Requests from {first} to {last}, with outcomes within {online.within_hours:g} hours of "
        f"their request; labels of {online.joined.rows} candidates. Intervals are of 95 per cent, "
        "with users drawn again."
    )
    yield ""
    yield from (f"- {name}: {count:,}" for name, count in online.joined.counts.items() if count)
    yield ""


def _arms(figures: Sequence[Figures]) -> Iterator[str]:
    yield from _table_head(("answered by", "segment", "requests", "users", "orders", *FIGURES))
    for one in figures:
        counts = (f"{count:,}" for count in (one.requests, one.users, one.orders))
        cells = (_cell(one.values[name]) for name in FIGURES)
        name = f"{one.role}, version {one.version}"
        yield f"| {' | '.join((name, one.segment, *counts, *cells))} |"
    yield ""


def _experiment(experiment: Experiment) -> Iterator[str]:
    versions = {arm: " and ".join(map(str, found)) for arm, found in experiment.versions.items()}
    shares = ", ".join(f"{share:.1%}" for share in experiment.shares)
    yield f"## A/B: version {versions['canary']} against version {versions['champion']}"
    yield ""
    yield (
        f"Experiment `{experiment.salt}`, share of the canary {shares}. Relative gain of the "
        "canary; in bold where Holm's correction over the whole table leaves p below 0.05."
    )
    yield ""
    cells = {(gain.metric, gain.segment): gain for gain in experiment.gains}
    yield from _gains(cells, _PAPER)
    levels = [s for s in dict.fromkeys(g.segment for g in experiment.gains) if s not in SEGMENTS]
    yield from _gains(cells, levels)


def _gains(cells: dict[tuple[str, str], Gain], segments: Sequence[str]) -> Iterator[str]:
    yield from _table_head(("metric", *segments))
    for metric in METRICS:
        row = (_gain(cells[metric, segment]) for segment in segments)
        yield f"| {' | '.join((metric, *row))} |"
    users = (
        ", ".join(f"{n:,} {arm}" for arm, n in zip(ARMS, cells[METRICS[0], s].users, strict=True))
        for s in segments
    )
    yield f"| {' | '.join(('users', *users))} |"
    yield ""


def _gain(gain: Gain) -> str:
    if gain.lift is None:
        return _NONE
    told = f"{gain.lift.value:+.2%}"
    sure = gain.p_adjusted < 0.05
    return f"{f'**{told}**' if sure else told} ({gain.lift.low:+.2%} to {gain.lift.high:+.2%})"


def _cell(value: Interval | None) -> str:
    if value is None or not math.isfinite(value.value):
        return _NONE
    if not math.isfinite(value.low):
        return f"{value.value:.4f}"
    return f"{value.value:.4f} ({value.low:.4f} to {value.high:.4f})"


def _table_head(names: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]


def _moment(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
