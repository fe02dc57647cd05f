"""A card as HTML: one group, folded until somebody wants to read it."""

from html import escape

from offline.group_report.cards import Card, Fact
from offline.group_report.description import Description
from offline.group_report.plots import columns
from offline.group_report.table import percent, table
from offline.writers.writer import TEMPLATE


def card_html(card: Card, description: Description, n_min: int) -> str:
    """Draw a card.

    Args:
        card: the group.
        description: its name and a few plain sentences about it.
        n_min: members that a prior needs.

    Returns:
        A ``details`` element, every text escaped.
    """
    most = _categories("Bought most", card.categories)
    furthest = _categories("Furthest above all users", card.distinctive)
    parts = [
        f"<p>{escape(description.summary)}</p>",
        f'<p class="quiet">{_written_by(description)}</p>',
        "" if card.serves else f"<p>Below {n_min} members: its users read a shorter prefix.</p>",
        '<div class="beside">',
        f"<div>{_attributes(card)}{_sizes(card)}</div>",
        f"<div>{most}{furthest}</div>",
        "</div>",
        _sequence(card),
        _samples(card),
    ]
    name = escape(card.prefix)
    return (
        f'<details class="card" id="g-{name}"><summary><span class="code">{name}</span>'
        f"<span>{escape(description.name)}</span>"
        f'<span class="quiet">{card.size:,} users, {percent(card.share)}</span></summary>'
        f"{''.join(parts)}</details>\n"
    )


def _written_by(description: Description) -> str:
    if description.writer == TEMPLATE:
        return "Name and summary: a template, no language model."
    return f"Name and summary: a language model, by the writer {escape(description.writer)}."


def _attributes(card: Card) -> str:
    rows = [
        (fact.name, fact.value, percent(fact.share), f"{fact.lift:.2f}") for fact in card.attributes
    ]
    told = table("Most frequent attribute values", ("Attribute", "Value", "Share", "Lift"), rows)
    if not card.numbers:
        return told if rows else "<p>No attribute is known of any member.</p>"
    means = [(name, f"{mine:.4g}", f"{usual:.4g}") for name, mine, usual in card.numbers]
    return (told if rows else "") + table("Means", ("Attribute", "Group", "All users"), means)


def _sizes(card: Card) -> str:
    labels = [f"level {level + 1}" for level in range(len(card.activity))]
    return (
        "<figure>"
        + columns("Members by activity level", labels, card.activity, "members by activity level")
        + "</figure>"
    )


def _categories(caption: str, facts: tuple[Fact, ...]) -> str:
    if not facts:
        return f"<p>{caption}: none.</p>"
    rows = [
        (fact.value or "(no category)", percent(fact.share), f"{fact.lift:.2f}") for fact in facts
    ]
    return table(caption, ("Category", "Share", "Lift"), rows)


def _sequence(card: Card) -> str:
    if not card.sequence:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in card.sequence)
    return (
        f"<details><summary>Group sequence, {len(card.sequence)} items, oldest first</summary>"
        f"<ol>{items}</ol></details>"
    )


def _samples(card: Card) -> str:
    if not card.samples:
        return ""
    profiles = "".join(
        "<dl>"
        + "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in one.items() if text
        )
        + "</dl>"
        for one in card.samples
    )
    heading = f"Profiles of the {len(card.samples)} most typical members"
    return f"<details><summary>{heading}</summary>{profiles}</details>"
