"""Plots: intervals and lines as inline SVG, legible without colour and beside a table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from offline.evidence.statistics import Interval

_Scale = Callable[[float], float]

WIDTH = 560
_NAMES = 220
_LINE = 24
_TOP = 20
_FAR = 4.0
"""Times the median end: what lies further is told in words."""
_HEIGHT = 220
_LEFT, _RIGHT, _FOOT = 60, 16, 40


@dataclass(frozen=True)
class Whisker:
    """One interval of a forest plot."""

    label: str
    interval: Interval
    paper: float | None = None
    """Where the paper's figure lies; drawn as a cross."""


@dataclass(frozen=True)
class Series:
    """One line of a line plot."""

    label: str
    points: tuple[Interval, ...]


def forest(title: str, whiskers: Sequence[Whisker]) -> str:
    """Intervals of relative changes, one below the other, around 0.

    Args:
        title: what is shown, for readers that do not see it.
        whiskers: dots with their intervals; an undefined end draws the dot alone.

    Returns:
        An ``svg`` element, every text escaped.
    """
    reach = _reach(whiskers)
    height = _TOP + len(whiskers) * _LINE + 24

    def x(value: float) -> float:
        return _NAMES + (WIDTH - _NAMES - _RIGHT) * (value + reach) / (2 * reach)

    parts = [_vertical(x(0.0), _TOP - 6, height - 22)]
    for place, one in enumerate(whiskers):
        y = _TOP + place * _LINE + 8
        parts.append(f'<text x="0" y="{y + 4}">{escape(one.label)}</text>')
        far = abs(one.interval.value) > reach
        parts.append(_beyond(one, y) if far else _whisker(one, x, y))
    foot = [(-reach, "start"), (0.0, "middle"), (reach, "end")]
    parts += [_tick(x(value), height - 6, value, anchor) for value, anchor in foot]
    return _svg(title, height, parts)


def lines(title: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    """Relative changes along an ordered axis, one line per series, with interval bars.

    Args:
        title: what is shown.
        labels: of the places along the axis.
        series: lines of one point per label: the first is filled, later ones are outlined.

    Returns:
        An ``svg`` element, every text escaped.
    """
    every = [point for one in series for point in one.points]
    top, bottom = _span(every)
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(labels))

    def y(value: float) -> float:
        return _TOP + 14 + (_HEIGHT - _TOP - 14 - _FOOT) * (top - value) / (top - bottom)

    parts = [_legend([one.label for one in series])]
    parts.append(f'<path class="axis" d="M{_LEFT} {y(0.0):.1f}H{WIDTH - _RIGHT}"/>')
    parts += [
        f'<text class="end" x="{_LEFT - 8}" y="{y(value) + 4:.1f}">{100 * value:+.2f} %</text>'
        for value in (top, 0.0, bottom)
    ]
    for place, label in enumerate(labels):
        x = _LEFT + step * (place + 0.5)
        parts.append(f'<text class="small" x="{x:.1f}" y="{_HEIGHT - 14}">{escape(label)}</text>')
    for number, one in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * 10
        spots = [
            (_LEFT + step * (place + 0.5) + shift, point) for place, point in enumerate(one.points)
        ]
        parts.append(_line(number, [(x, y(point.value)) for x, point in spots]))
        parts += [_upright(number, x, point, y) for x, point in spots]
    return _svg(title, _HEIGHT, parts)


def _reach(whiskers: Sequence[Whisker]) -> float:
    """Half the width of the scale; what lies far beyond the others does not squeeze them."""
    every = [(abs(o.interval.value), abs(o.interval.low), abs(o.interval.high)) for o in whiskers]
    ends = sorted(max(end for end in of if math.isfinite(end)) for of in every)
    limit = _FAR * ends[len(ends) // 2] if ends else 0.0
    papers = [abs(one.paper) for one in whiskers if one.paper is not None]
    return 1.05 * max([1e-4, *papers, *(end for end in ends if end <= limit)])


def _span(points: Sequence[Interval]) -> tuple[float, float]:
    ends = [end for one in points for end in (one.value, one.low, one.high) if math.isfinite(end)]
    top, bottom = max([1e-4, *ends]), min([-1e-4, *ends])
    room = 0.05 * (top - bottom)
    return top + room, bottom - room


def _whisker(one: Whisker, x: _Scale, y: float) -> str:
    parts = []
    if math.isfinite(one.interval.low):
        left, right = max(x(one.interval.low), _NAMES), min(x(one.interval.high), WIDTH - 2)
        ends = f"M{left:.1f} {y}H{right:.1f}"
        parts.append(f'<path class="whisker" d="{ends}"/>')
    parts.append(f'<circle class="s0" cx="{x(one.interval.value):.1f}" cy="{y}" r="4"/>')
    if one.paper is not None:
        at = x(one.paper)
        cross = f"M{at - 4:.1f} {y - 4}l8 8m-8 0l8 -8"
        parts.append(f'<path class="paper" d="{cross}"/>')
    return "".join(parts)


def _beyond(one: Whisker, y: float) -> str:
    side = (WIDTH - _RIGHT, "end") if one.interval.value > 0 else (_NAMES, "start")
    told = f"{100 * one.interval.value:+.2f} %, off the scale"
    return f'<text text-anchor="{side[1]}" x="{side[0]}" y="{y + 4}">{told}</text>'


def _upright(number: int, x: float, point: Interval, y: _Scale) -> str:
    dot = f'<circle class="s{number}" cx="{x:.1f}" cy="{y(point.value):.1f}" r="4"/>'
    if not math.isfinite(point.low):
        return dot
    bar = f"M{x:.1f} {y(point.low):.1f}V{y(point.high):.1f}"
    return f'<path class="line s{number}" d="{bar}"/>{dot}'


def _line(number: int, spots: Sequence[tuple[float, float]]) -> str:
    if len(spots) < 2:
        return ""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    return f'<path class="line s{number}" d="{path}"/>'


def _legend(names: Sequence[str]) -> str:
    parts, x = [], 6.0
    for number, name in enumerate(names):
        parts.append(f'<circle class="s{number}" cx="{x:.1f}" cy="9" r="4"/>')
        parts.append(f'<text x="{x + 10:.1f}" y="13">{escape(name)}</text>')
        x += 34 + 7 * len(name)
    return "".join(parts)


def _vertical(x: float, top: float, bottom: float) -> str:
    return f'<path class="axis" d="M{x:.1f} {top}V{bottom}"/>'


def _tick(x: float, y: float, value: float, anchor: str) -> str:
    told = f"{100 * value:+.2f} %" if value else "0"
    return f'<text text-anchor="{anchor}" x="{x:.1f}" y="{y}">{told}</text>'


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg class="wide" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
