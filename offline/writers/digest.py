"""The digest: what a language model may know of one user, chosen and written down by code.

Ids are not among the facts. Of attributes only the allowed ones are told; queries with an address
in them are left out, and long numbers too, which may be somebody's, however either is written. All
text is free of quotes, brackets and line breaks, so that nobody's words can end the block they
stand in.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from model.profile_text import CategoryCount, UserFacts, render, spell

Digest = Callable[[UserFacts, Collection[str] | None], str]
"""From a user's facts and the attributes that may be told (None = all) to a text; empty when
nothing is known but attributes, since there is nothing to synthesise then."""

WINDOWS = "windows-1"
SENTENCES = "sentences-1"
"""Change whenever the same facts would be told in other words."""

_LABELS = {
    "attributes": "attributes",
    "recent": "bought recently",
    "medium": "bought before",
    "long": "bought long ago",
    "queries": "searched for",
}
_LONG_NUMBER = re.compile(r"\+?\d(?:[\W_]*\d){4,}")
"""Five digits and more, whatever but letters stands between them: cards and telephones are spelt
in blocks."""
_ADDRESS = re.compile(
    r"@|://|\bwww\b"
    r"|[^\W_][.\u3002][^\W\d_]{2}"  # words joined by a dot, also an ideographic one: example.com
    r"|[(\[{<]\s*(?:at|dot)\s*[)\]}>]|(?:\b|_)at(?:\b|_).*(?:\b|_)dot(?:\b|_)",
    re.IGNORECASE | re.DOTALL,
)
_KINDS_TOLD = 6
_PLACES_TOLD = 3


def tell_windows(facts: UserFacts, allowed: Collection[str] | None) -> str:
    """Tell attributes, purchases by window and category, and queries: a line each.

    For models that can generalise from facts.

    Args:
        facts: what is known of the user.
        allowed: names of attributes that may be told; None = all.

    Returns:
        The digest; kinds without facts have no line.

    Source: section 4.2.1, input formulation.
    """
    sections = render(_told(facts, allowed)).sections
    texts = {name: text for name, text in zip(_LABELS, sections, strict=True) if text}
    if not texts.keys() - {"attributes"}:
        return ""
    return "\n".join(f"{_LABELS[name]}: {text}" for name, text in texts.items())


def tell_sentences(facts: UserFacts, allowed: Collection[str] | None) -> str:
    """Tell the largest categories of all windows and the queries as a few plain sentences.

    For models that can only rewrite: what is not told they cannot get wrong.

    Args:
        facts: what is known of the user.
        allowed: names of attributes that may be told; None = all.

    Returns:
        The digest; kinds without facts have no sentence.
    """
    told = _told(facts, allowed)
    bought = [*told.recent, *told.medium, *told.long]
    sentences = {
        "The shopper buys from": _largest(bought, lambda fact: fact.parent, _PLACES_TOLD),
        "The shopper likes": _largest(bought, lambda fact: fact.leaf or fact.parent, _KINDS_TOLD),
        "The shopper searches for": render(UserFacts({}, queries=told.queries)).queries,
    }
    texts = [f"{start} {text}." for start, text in sentences.items() if text]
    if not texts:
        return ""
    attributes = render(told).attributes
    return " ".join([f"About the shopper: {attributes}."] * bool(attributes) + texts)


def _largest(
    bought: Iterable[CategoryCount], name_of: Callable[[CategoryCount], str], most: int
) -> str:
    """The names bought most, ties by name."""
    counts: Counter[str] = Counter()
    for fact in bought:
        counts[spell(name_of(fact))] += fact.count
    counts.pop("", None)
    return ", ".join(sorted(counts, key=lambda name: (-counts[name], name))[:most])


def _told(facts: UserFacts, allowed: Collection[str] | None) -> UserFacts:
    return replace(
        facts,
        attributes={
            name: value
            for name, value in facts.attributes.items()
            if allowed is None or name in allowed
        },
        queries=[
            _LONG_NUMBER.sub(" ", query)
            for query in map(_plainly_spelt, facts.queries)
            if not _ADDRESS.search(query)
        ],
    )


def _plainly_spelt(query: str) -> str:
    """With ordinary letters, digits and signs for wide and styled ones, and nothing invisible."""
    visible = (sign for sign in query if unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFKC", "".join(visible))
