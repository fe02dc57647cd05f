"""Tables: figures as accessible HTML."""

from collections.abc import Iterable, Sequence
from html import escape

_FIGURES = frozenset("0123456789.,%/ ")


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a caption, column heads, and a head for every row.

    Args:
        caption: what it shows.
        heads: one per column.
        rows: texts; the first of each is the row's head.

    Returns:
        A ``table`` element that scrolls by itself where it is too wide, every text escaped.
    """
    lines = list(rows)
    kinds = ["", *(_kind([line[place] for line in lines]) for place in range(1, len(heads)))]
    columns = "".join(
        f'<th scope="col"{kind}>{escape(head)}</th>'
        for head, kind in zip(heads, kinds, strict=True)
    )
    body = "".join(_row(line, kinds) for line in lines)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def percent(share: float | None) -> str:
    """A share for people; what is not defined is said to be so."""
    return "not defined" if share is None else f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Two decimals."""
    return f"{value:.2f}"


def _row(row: Sequence[str], kinds: Sequence[str]) -> str:
    head, *cells = row
    told = "".join(
        f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(cells, kinds[1:], strict=True)
    )
    return f'<tr><th scope="row">{escape(head)}</th>{told}</tr>'


def _kind(column: Sequence[str]) -> str:
    """Columns of figures alone stand to the right."""
    return ' class="n"' if all(set(text) <= _FIGURES for text in column) else ""
