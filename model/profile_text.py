"""The template profile: one user's facts as short English sections, the same offline and online."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

TEMPLATE_VERSION = "template-1"
"""Changes whenever the same facts would give another text."""

MAX_PARENTS = 10
MAX_LEAVES = 5
MAX_QUERIES = 20
MAX_NAME_CHARS = 80

_BANDS = ((0.2, "mainly"), (0.05, "often"), (0.0, "also"))
"""Least share of a window's purchases, and the word for it. Shares, not counts: a profile should
say what a user buys and not how much, or groups would form by activity (paper, section 4.2)."""

_SEPARATORS = re.compile(r"[\W_]+")
_UNPRINTABLE = re.compile(r"[^\w$%&+./' -]+|_")


@dataclass(frozen=True)
class CategoryCount:
    """Purchases of one category within one window; a catalogue of one level has no leaves."""

    parent: str
    leaf: str
    count: int


@dataclass(frozen=True)
class UserFacts:
    """What is known of a user at one moment (paper, section 4.2.1)."""

    attributes: Mapping[str, str | float | None]
    """Attribute values by name, in profile order; None = missing."""
    recent: Sequence[CategoryCount] = ()
    medium: Sequence[CategoryCount] = ()
    long: Sequence[CategoryCount] = ()
    """Purchases of three disjoint windows, the last one the oldest."""
    queries: Sequence[str] = ()
    """Search queries, latest first."""


@dataclass(frozen=True)
class Profile:
    """A profile by section; a section without facts is the empty text."""

    attributes: str
    recent: str
    medium: str
    long: str
    queries: str

    @property
    def sections(self) -> tuple[str, ...]:
        """The five texts in the order of ``SECTIONS``."""
        return tuple(getattr(self, name) for name in SECTIONS)


SECTIONS = tuple(field.name for field in fields(Profile))
"""Names of a profile's sections, in order."""


def render(facts: UserFacts) -> Profile:
    """Write the profile of one user.

    Sections hold facts alone, without phrases such as "in the last week": an encoder that averages
    over words would otherwise measure how few facts there are.

    Args:
        facts: what is known of the user; counts are positive.

    Returns:
        The profile. Equal facts give equal texts, whatever the order of the counts.

    Source: section 4.2.1.
    """
    return Profile(
        attributes=", ".join(attribute_phrases(facts.attributes)),
        recent=_purchases_text(facts.recent),
        medium=_purchases_text(facts.medium),
        long=_purchases_text(facts.long),
        queries=_queries_text(facts.queries),
    )


def attribute_phrases(attributes: Mapping[str, str | float | None]) -> tuple[str, ...]:
    """The phrases of the attributes section: one per attribute that is known.

    Args:
        attributes: values by name, in profile order; None = missing.

    Returns:
        Phrases such as "age 30-39", in the same order.
    """
    known = ((name, value) for name, value in attributes.items() if value is not None)
    return tuple(f"{spell(name)} {_value_text(value)}" for name, value in known)


def _value_text(value: str | float) -> str:
    return _printable(value) if isinstance(value, str) else f"{value:.3g}"


def _purchases_text(counts: Sequence[CategoryCount]) -> str:
    by_parent: dict[str, dict[str, int]] = {}
    for fact in counts:
        if not fact.parent and not fact.leaf:
            continue  # an item that no category names says nothing
        leaves = by_parent.setdefault(spell(fact.parent), {})
        leaf = spell(fact.leaf)
        leaves[leaf] = leaves.get(leaf, 0) + fact.count
    totals = {parent: sum(leaves.values()) for parent, leaves in by_parent.items()}
    bought = sum(totals.values())
    phrases = (
        f"{_band(totals[parent] / bought)} {_category_phrase(parent, by_parent[parent])}"
        for parent in _largest(totals, MAX_PARENTS)
    )
    return "; ".join(phrases)


def _category_phrase(parent: str, leaves: Mapping[str, int]) -> str:
    named = ", ".join(leaf for leaf in _largest(leaves, MAX_LEAVES) if leaf not in ("", parent))
    return f"{parent} ({named})" if parent and named else parent or named


def _queries_text(queries: Iterable[str]) -> str:
    distinct = dict.fromkeys(_printable(query) for query in queries)
    distinct.pop("", None)
    return ", ".join(list(distinct)[:MAX_QUERIES])


def _largest(counts: Mapping[str, int], n: int) -> list[str]:
    """Names by falling count; ties by name, so that groups do not change between runs."""
    return sorted(counts, key=lambda name: (-counts[name], name))[:n]


def _band(share: float) -> str:
    return next(word for least, word in _BANDS if share >= least)


def spell(name: str) -> str:
    """Spell a name as lower-case words: encoders split ``FLUID_MILK`` into letters.

    Args:
        name: of an attribute or category, as the data set has it.

    Returns:
        Words of letters and digits, at most ``MAX_NAME_CHARS`` long.
    """
    return _SEPARATORS.sub(" ", name).strip().lower()[:MAX_NAME_CHARS]


def _printable(text: str) -> str:
    """Free text on one line, without characters that only serve as markup."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split()).lower()[:MAX_NAME_CHARS]
