"""The page: the group report as one HTML file that needs nothing else."""

import base64
import hashlib
from html import escape
from pathlib import Path

from model.whole_file import whole_file
from offline.group_report import sections
from offline.group_report.card_html import card_html
from offline.group_report.content import Content
from offline.writers.writer import TEMPLATE

_HERE = Path(__file__).parent


def write_report(content: Content, path: Path) -> None:
    """Write the report.

    Args:
        content: what it shows.
        path: the HTML file; it appears whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(render(content), encoding="utf-8")


def render(content: Content) -> str:
    """The report as HTML; every text of data, profiles and descriptions is escaped.

    Args:
        content: what it shows.

    Returns:
        A document that loads nothing: its policy forbids it to the browser, too.
    """
    style, script = ((_HERE / name).read_text() for name in ("page.css", "page.js"))
    parts = [
        _section("summary", "In short", sections.summary(content)),
        _section("levels", "Levels", sections.levels(content)),
        _section("sizes", "Sizes", sections.sizes(content)),
        _section("alike", "Are members alike?", sections.alike(content)),
        _section("stability", "Do groups stay?", sections.stability(content)),
        _section("drift", "Do users still lie where the groups are?", sections.drift(content)),
        _section("groups", "Groups", _cards(content)),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">
<title>Groups of {escape(content.dataset)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>Groups of {escape(content.dataset)}</h1>
<p>Cut {escape(content.cut)} · preset {escape(content.preset)} · grouping
{escape(content.grouping)} · profiles by
{escape(content.profiles)} · names and summaries of groups by {escape(content.describer)}</p>
<nav aria-label="Sections">{_links()}</nav>
</header>
<main>
{"".join(parts)}
</main>
<footer><p>{escape(content.provenance)}</p></footer>
<script>{script}</script>
</body>
</html>
"""


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
        " base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _links() -> str:
    named = {
        "summary": "In short",
        "levels": "Levels",
        "sizes": "Sizes",
        "alike": "Alike",
        "stability": "Stability",
        "drift": "Drift",
        "groups": "Groups",
    }
    return " ".join(f'<a href="#{name}">{text}</a>' for name, text in named.items())


def _section(name: str, heading: str, body: str) -> str:
    head = f'<h2 id="{name}-h">{heading}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-h">{head}{body}</section>\n'


def _cards(content: Content) -> str:
    told = (
        f"All {content.groups:,} groups, of every depth."
        if len(content.cards) == content.groups
        else f"The level-1 groups and the largest others: {len(content.cards):,} of"
        f" {content.groups:,}."
    )
    cards = "".join(
        card_html(card, description, content.n_min)
        for card, description in zip(content.cards, content.descriptions, strict=True)
    )
    return (
        f"<p>{told} {_written(content)} Lift is a share in the group over that among all users.</p>"
        '<p class="search" hidden><label for="search">Find groups by code, attribute, category or'
        ' profile</label><input id="search" type="search" autocomplete="off">'
        '<output for="search" id="found" aria-live="polite"></output></p>'
        f'<div id="cards">{cards}</div>'
    )


def _written(content: Content) -> str:
    """Who wrote the names and summaries; a template is called a template."""
    by_template = sum(one.writer == TEMPLATE for one in content.descriptions)
    if by_template == len(content.descriptions):
        return "Names and summaries are a template's, not a language model's."
    return (
        f"Names and summaries are a language model's ({escape(content.describer)}); of"
        f" {by_template:,} groups the template wrote them, for lack of purchases or of a usable"
        " answer."
    )
