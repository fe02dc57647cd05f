"""The report: all findings as one HTML file that needs nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from pathlib import Path

import offline.group_report
from model.whole_file import whole_file
from offline.evidence import sections, words
from offline.evidence.findings import Findings
from offline.evidence.plots import Series, Whisker, forest, lines
from offline.evidence.sections import TextTable
from offline.evidence.statistics import Interval
from offline.evidence.tables import StudyTables, SweepPoint
from offline.group_report.plots import Row, bars
from offline.group_report.table import table

READING = (
    "Gains are ratios minus 1, paired by data set, seed and user. Intervals hold 95 %: hierarchical"
    " bootstrap over worlds, seeds and users, t quantiles. Only the gain over permuted groups and"
    " over DIN of the same size with the same inputs speaks for groups. Detectable: the smallest"
    " true gain that such a table would find four times in five. The paper's figures are of other"
    " data and are no target. Baselines are our implementations of the papers' ideas, not"
    " reproductions."
)


def write_report(findings: Findings, path: Path) -> None:
    """Write the report.

    Args:
        findings: what it shows.
        path: the HTML file; it appears whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(render(findings), encoding="utf-8")


def render(findings: Findings, own: Sequence[TextTable] = ()) -> str:
    """The report as HTML; every text of data is escaped.

    Args:
        findings: what it shows; a quick run is stamped and claims nothing.
        own: tables of the one model that the report goes with.

    Returns:
        A document that loads nothing: its policy forbids it to the browser, too.
    """
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    quick = findings.quick
    parts = [_section("own", "This model", "".join(map(_html, own)))] if own else []
    parts.append(_section("summary", "In short", _summary(findings)))
    for number, tables in enumerate(findings.studies):
        name = tables.name[:1].upper() + tables.name[1:]
        parts.append(_section(f"study{number}", name, _study(tables, quick)))
    parts.append(_section("rest", "What is missing, and what this rests on", _rest(findings)))
    stamp = f'<p class="stamp">{words.QUICK}</p>' if quick else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'">
<title>The evidence for ChoirRec</title>
<style>{style}</style>
</head>
<body{' class="quick"' if quick else ""}>
{stamp}
<header>
<h1>The evidence for ChoirRec</h1>
<nav aria-label="Sections">{_links(findings, bool(own))}</nav>
</header>
<main>
{"".join(parts)}
</main>
</body>
</html>
"""  # noqa: E501 - a policy is one attribute


def _style() -> str:
    shared = Path(offline.group_report.__file__).parent / "page.css"
    return shared.read_text() + Path(__file__).with_name("report.css").read_text()


def _links(findings: Findings, own: bool) -> str:
    named = [("own", "This model")] if own else []
    named.append(("summary", "In short"))
    named += [(f"study{n}", tables.name) for n, tables in enumerate(findings.studies)]
    named.append(("rest", "What is missing"))
    return " ".join(f'<a href="#{name}">{escape(text)}</a>' for name, text in named)


def _section(name: str, heading: str, body: str) -> str:
    head = f'<h2 id="{name}-h">{escape(heading)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-h">{head}{body}</section>\n'


def _summary(findings: Findings) -> str:
    parts = [f"<p>{escape(READING)}</p>"]
    if findings.unfinished:
        total = findings.finished + len(findings.unfinished)
        parts.append(
            f'<p class="warning"><strong>Unfinished:</strong> {len(findings.unfinished):,} of'
            f' {total:,} cells have not been run; <a href="#rest">they are named below</a>.</p>'
        )
    for tables in findings.studies:
        said = words.headlines(tables, findings.quick)
        parts.append(f"<h3>{escape(tables.name)}</h3>")
        parts.append(_listed(said) if said else f"<p>{words.NO_CLAIM}</p>")
    return "".join(parts)


def _study(tables: StudyTables, quick: bool) -> str:
    parts = [_html(sections.scores(tables))]
    for segment, users in (("low", "low-activity users"), ("overall", "all users")):
        told = sections.gains(tables, segment, quick)
        if told.rows:
            parts += [_forest(tables, segment, users), _html(told)]
    if tables.levels is not None:
        parts += [
            "<h3>By activity level</h3>",
            _levels(tables),
            _html(sections.levels(tables, quick)),
        ]
    if tables.ablations:
        parts += ["<h3>What each part is worth</h3>", _html(sections.ablations(tables, quick))]
    for parameter, points in (("k", tables.codes_sweep), ("lambda", tables.weight_sweep)):
        if points:
            parts += [
                f"<h3>Sweep of {parameter}</h3>",
                _sweep(parameter, points),
                _html(sections.sweep(tables, parameter, quick)),
            ]
    if tables.trust:
        parts += [
            "<h3>Trust in the group channel</h3>",
            _trust(tables),
            _html(sections.trust(tables)),
        ]
    if tables.groups:
        parts += ["<h3>Are members alike?</h3>", _html(sections.groups(tables))]
    parts += ["<h3>Beside the primary figures</h3>", _html(sections.secondary(tables))]
    parts += [_html(sections.items(tables)), _html(sections.by_dataset(tables))]
    return "".join(parts)


def _forest(tables: StudyTables, segment: str, users: str) -> str:
    name = f"primary_{segment}"
    whiskers = [
        Whisker(row.title, row.gains[name].judged, row.gains[name].paper)
        for row in tables.methods
        if name in row.gains
    ]
    title = f"{tables.subject} over each method, {users}; crosses: the paper"
    return f"<h3>{escape(title)}</h3><figure>{forest(title, whiskers)}</figure>"


def _levels(tables: StudyTables) -> str:
    found = tables.levels
    if found is None:
        return ""
    series = [
        Series("net of permuted groups", found.net),
        Series("over base", found.over_base),
        Series("permuted over base", found.permuted_over_base),
    ]
    labels = [f"level {n}" for n in range(1, 6)]
    return f"<figure>{lines('Gain by activity level', labels, series)}</figure>"


def _sweep(parameter: str, points: Sequence[SweepPoint]) -> str:
    def along(segment: str) -> tuple[Interval, ...]:
        gains = [point.row.gains.get(f"primary_{segment}") for point in points]
        return tuple(gain.relative for gain in gains if gain is not None)

    series = [Series("low-activity", along("low")), Series("overall", along("overall"))]
    if any(len(one.points) != len(points) for one in series):
        return ""
    labels = [f"{point.value:g}" for point in points]
    return f"<figure>{lines(f'GAUC by {parameter}', labels, series)}</figure>"


def _trust(tables: StudyTables) -> str:
    shown = tables.trust[:3]
    rows = [Row(f"Level {n + 1}", tuple(one.levels[n] for one in shown)) for n in range(5)]
    drawn = bars("alpha_fusion by level", [one.title for one in shown], rows, 1.0, "")
    return f"<figure>{drawn}</figure>"


def _rest(findings: Findings) -> str:
    missing = words.unfinished(findings)
    parts = ["<h3>Unfinished cells</h3>", _listed(missing) if missing else "<p>None.</p>"]
    parts.append(
        f"<h3>Made from</h3><p>{findings.finished:,} cells, {findings.cpu_s / 3600:.1f} CPU hours."
        f" Digests: {_digests(findings)}.</p>"
    )
    for dataset, text in words.sources(findings).items():
        parts.append(f"<h3>{escape(dataset)}</h3><p>{escape(text)}</p>")
    return "".join(parts)


def _digests(findings: Findings) -> str:
    return "; ".join(
        f"{name} {escape(', '.join(of[:3]))}{f' and {len(of) - 3} others' if len(of) > 3 else ''}"
        for name, of in findings.digests.items()
    )


def _html(told: TextTable) -> str:
    return table(told.caption, told.heads, told.rows) if told.rows else ""


def _listed(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
