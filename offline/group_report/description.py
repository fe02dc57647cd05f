"""The description: a group's name and summary, by a template or by a language model."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

from model.profile_text import UserFacts, render, spell
from offline.group_report.cards import Card
from offline.progress import track_rows
from offline.writers.answer import Answer
from offline.writers.selection import group_plan, open_correspondence
from offline.writers.settings import WriterSettings
from offline.writers.writer import TEMPLATE, Provenance

_LABELS = (
    "about them",
    "bought more than by others",
    "bought lately",
    "bought before",
    "bought long ago",
)
_IN_A_NAME = 2
_IN_A_SENTENCE = 3


@dataclass(frozen=True)
class Description:
    """What a card says of its group before the figures."""

    name: str
    summary: str
    writer: str
    """Who wrote it: "template" is code, every other name that of a language model's writer."""


def describe(
    cards: Sequence[Card], attributes: Collection[str], settings: WriterSettings, cache: Path
) -> tuple[Description, ...]:
    """Describe groups.

    Args:
        cards: what is known of each group.
        attributes: names of those that users have.
        settings: name the writer.
        cache: folder of all writers' caches, to be kept between runs.

    Returns:
        A description per card, in order. The template writes those of which no purchase is known
        and those for which the language model gave no usable answer.

    Raises:
        WriterFailed: when the language model cannot go on, as for profiles.
        ConfigError: when its key cannot be read.
    """
    if settings.writer == TEMPLATE:
        return tuple(map(by_template, cards))
    plan = group_plan(settings, tell_card)
    plan.check_allowed(attributes)
    digests = [plan.digest(card, plan.allowed) for card in cards]
    bar = track_rows("cards", len(cards))
    with open_correspondence(plan, settings, cache) as correspondence, bar as advance:
        answers = correspondence.answers(digests, advance)
    return tuple(
        _described(card, answers.get(digest), plan.writer)
        for card, digest in zip(cards, digests, strict=True)
    )


def description_provenance(settings: WriterSettings) -> Provenance:
    """What descriptions depend on besides facts; nothing is started.

    Raises:
        WriterFailed: when the writer "local" is not installed.
    """
    if settings.writer == TEMPLATE:
        return Provenance(TEMPLATE)
    return group_plan(settings, tell_card).provenance


def tell_card(card: Card, allowed: Collection[str] | None) -> str:
    """Tell a language model of a group: names alone, free of brackets, quotes and line breaks.

    Args:
        card: the group.
        allowed: names of attributes that may be told; None = all.

    Returns:
        A line each for attribute values typical of the members, categories bought more than by
        others, and those bought most in each window; empty when no purchase in them is known.
    """
    if not any(card.windows):
        return ""
    typical = {f.name: f.value for f in card.typical if allowed is None or f.name in allowed}
    lists = [[fact.value for fact in card.distinctive], *card.windows]
    texts = [render(UserFacts(typical)).attributes, *map(_listed, lists)]
    return "\n".join(f"{label}: {text}" for label, text in zip(_LABELS, texts, strict=True) if text)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(filter(None, map(spell, names)))


def by_template(card: Card) -> Description:
    """Describe a group by code alone, from its most typical facts."""
    return Description(_name(card), _summary(card), TEMPLATE)


def _described(card: Card, answer: Answer | None, writer: str) -> Description:
    if answer is None:
        return by_template(card)
    name, summary = answer.texts()
    return Description(name, summary, writer)


def _name(card: Card) -> str:
    typical = sorted(card.typical, key=lambda fact: (-fact.share * log(fact.lift), fact.name))
    told = [f"{_words(fact.name)} {fact.value}" for fact in typical[:_IN_A_NAME]]
    told += [_words(fact.value) for fact in card.distinctive[:_IN_A_NAME]]
    return " · ".join(told) or "no facts known"


def _summary(card: Card) -> str:
    typical = [
        f"{_words(fact.name)} {fact.value} ({fact.share:.0%} of those known)"
        for fact in card.typical
    ]
    bought = [f"{_words(f.value)} ({f.share:.0%})" for f in card.categories[:_IN_A_SENTENCE]]
    unusual = [f"{_words(f.value)} ({f.lift:.1f} times)" for f in card.distinctive[:_IN_A_SENTENCE]]
    sentences = [
        f"More often than elsewhere: {', '.join(typical)}." if typical else "",
        f"Bought most: {', '.join(bought)}." if bought else "No purchases before the cut.",
        f"Furthest above all users: {', '.join(unusual)}." if unusual else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _words(name: str) -> str:
    """A column's or a category's name as lower-case words."""
    return " ".join(name.replace("_", " ").split()).lower()
