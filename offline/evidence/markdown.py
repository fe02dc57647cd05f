"""Markdown: findings as tables between generated markers, so that no figure is ever typed."""

import re
from pathlib import Path

from model.whole_file import whole_file
from offline.evidence import sections, words
from offline.evidence.findings import Findings
from offline.evidence.report import READING
from offline.evidence.sections import TextTable
from offline.evidence.tables import StudyTables


class MissingMarkers(ValueError):
    """A document that has no place for generated text."""


class QuickFindings(ValueError):
    """Findings of a quick run, which no document may quote."""


def update(path: Path, name: str, text: str) -> bool:
    """Replace what stands between a document's markers.

    Args:
        path: a document with ``<!-- generated: NAME -->`` and, below, ``<!-- end: NAME -->``.
        name: of the markers.
        text: what shall stand between them.

    Returns:
        Whether the document changed.

    Raises:
        MissingMarkers: when the two lines are not there once each, in that order.
    """
    begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    former = path.read_text(encoding="utf-8")
    between = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    if former.count(begin) != 1 or former.count(end) != 1 or not between.search(former):
        raise MissingMarkers(
            f"{path} needs the line {begin!r} and below it {end!r}, once each: put them where the"
            " generated text shall stand"
        )
    fresh = between.sub(lambda _: f"{begin}\n{text.strip()}\n{end}", former)
    if fresh != former:
        with whole_file(path) as partial:
            partial.write_text(fresh, encoding="utf-8")
    return fresh != former


def evidence(findings: Findings) -> str:
    """All tables, for docs/evidence.md.

    Args:
        findings: of a full run.

    Returns:
        Markdown.

    Raises:
        QuickFindings: when the run was a quick one.
    """
    _refuse_quick(findings)
    parts = [READING]
    for tables in findings.studies:
        parts += [f"## {tables.name[:1].upper()}{tables.name[1:]}", *_study(tables)]
    missing = words.unfinished(findings) or ["none"]
    parts += ["## Unfinished cells", _listed(missing)]
    parts += [
        f"{findings.finished:,} cells, {findings.cpu_s / 3600:.1f} CPU hours.",
        *(f"**{name}**: {text}" for name, text in words.sources(findings).items()),
    ]
    return "\n\n".join(parts)


def short(findings: Findings) -> str:
    """The sentences and gains that matter, for the README.

    Args:
        findings: of a full run.

    Returns:
        Markdown: per study that confirms, its sentences and the table of low-activity users.

    Raises:
        QuickFindings: when the run was a quick one.
    """
    _refuse_quick(findings)
    parts = []
    for tables in findings.studies:
        if tables.role == "confirmation":
            told = sections.gains(tables, "low", quick=False)
            said = words.headlines(tables, quick=False)
            parts += [f"**{tables.name}**", _listed(said), _table(told)]
    if findings.unfinished:
        total = findings.finished + len(findings.unfinished)
        parts.append(f"{len(findings.unfinished):,} of {total:,} cells are unfinished.")
    return "\n\n".join(part for part in parts if part) or "Nothing has been confirmed yet."


def _refuse_quick(findings: Findings) -> None:
    if findings.quick:
        raise QuickFindings("a quick run makes no claim: documents take figures of a full run only")


def _study(tables: StudyTables) -> list[str]:
    told = [
        sections.scores(tables),
        sections.gains(tables, "low", quick=False),
        sections.gains(tables, "overall", quick=False),
        sections.levels(tables, quick=False),
        sections.ablations(tables, quick=False),
        sections.sweep(tables, "k", quick=False),
        sections.sweep(tables, "lambda", quick=False),
        sections.trust(tables) if tables.trust else TextTable("", (), ()),
        sections.groups(tables) if tables.groups else TextTable("", (), ()),
        sections.items(tables),
        sections.by_dataset(tables),
    ]
    said = words.headlines(tables, quick=False)
    return [_listed(said) if said else words.NO_CLAIM, *(_table(one) for one in told if one.rows)]


def _table(told: TextTable) -> str:
    heads = [_cell(head) for head in told.heads]
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in told.rows)]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{told.caption}\n\n{body}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _listed(texts: list[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)
