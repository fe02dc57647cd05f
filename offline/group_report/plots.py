"""Plots: bars as inline SVG, legible without colour and beside a table of the same figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360
BAR, GAP, LABEL = 14, 4, 20
_VALUE_ROOM = 64
HEIGHT = 160
_FOOT = HEIGHT - 34


@dataclass(frozen=True)
class Row:
    """One thing measured, by one bar per series."""

    label: str
    values: tuple[float | None, ...]


def bars(title: str, series: Sequence[str], rows: Sequence[Row], top: float, unit: str) -> str:
    """Horizontal bars, a group of them per row.

    Args:
        title: what is shown, for readers that do not see it.
        series: names of the bars of a row: the first is filled, later ones are outlined.
        rows: labels and values; None draws no bar and says so.
        top: the value at full length.
        unit: "%" tells values as percentages, "" as numbers of two decimals.

    Returns:
        An ``svg`` element, every text escaped.
    """
    step = LABEL + len(series) * (BAR + GAP) + 10
    parts = [_legend(series)]
    for number, row in enumerate(rows):
        y = 26 + number * step
        parts.append(f'<text x="0" y="{y + 12}">{escape(row.label)}</text>')
        for place, value in enumerate(row.values):
            parts.append(_bar(place, value, y + LABEL + place * (BAR + GAP), top, unit))
    return _svg(title, 26 + len(rows) * step, parts)


def columns(title: str, labels: Sequence[str], counts: Sequence[float], note: str) -> str:
    """A histogram of vertical columns.

    Args:
        title: what is shown.
        labels: one per column, below it.
        counts: heights.
        note: what the columns count, above them.

    Returns:
        An ``svg`` element, every text escaped.
    """
    top, width = max([*counts, 1e-12]), WIDTH / max(1, len(counts))
    parts = [f'<text class="quiet" x="0" y="14">{escape(note)}</text>']
    for number, (label, count) in enumerate(zip(labels, counts, strict=True)):
        height = (_FOOT - 36) * count / top
        x, y = number * width, _FOOT - height
        middle = x + width / 2
        parts.append(
            f'<rect class="s0" x="{x + 2:.1f}" y="{y:.1f}" width="{width - 4:.1f}"'
            f' height="{height:.1f}"/>'
            f'<text class="small" x="{middle:.1f}" y="{y - 5:.1f}">{_count(count)}</text>'
            f'<text class="small" x="{middle:.1f}" y="{_FOOT + 16}">{escape(label)}</text>'
        )
    return _svg(title, HEIGHT, parts)


def _bar(place: int, value: float | None, y: int, top: float, unit: str) -> str:
    if value is None:
        return f'<text class="value" x="4" y="{y + 11}">not defined</text>'
    length = (WIDTH - _VALUE_ROOM) * min(max(value / top, 0), 1) if top > 0 else 0
    told = f"{value:.1%}" if unit == "%" else f"{value:.2f}"
    return (
        f'<rect class="s{place}" x="0.5" y="{y + 0.5}" width="{length:.1f}" height="{BAR - 1}"/>'
        f'<text class="value" x="{length + 6:.1f}" y="{y + 11}">{told}</text>'
    )


def _legend(series: Sequence[str]) -> str:
    if len(series) < 2:
        return ""
    parts, x = [], 0.0
    for place, name in enumerate(series):
        parts.append(
            f'<rect class="s{place}" x="{x + 0.5:.1f}" y="2.5" width="12" height="11"/>'
            f'<text class="quiet" x="{x + 18:.1f}" y="13">{escape(name)}</text>'
        )
        x += 34 + 6.6 * len(name)
    return "".join(parts)


def _count(count: float) -> str:
    return f"{count:,}" if count == int(count) else f"{count:.0%}"


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
