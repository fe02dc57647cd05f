"""The template profile: facts chosen by code, in a fixed order, in plain words."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.profile_text import (
    MAX_LEAVES,
    MAX_NAME_CHARS,
    MAX_PARENTS,
    MAX_QUERIES,
    SECTIONS,
    CategoryCount,
    UserFacts,
    render,
)

COUNTS = st.lists(
    st.builds(
        CategoryCount,
        parent=st.sampled_from(["DAIRY", "BAKERY", "FROZEN_FOOD", ""]),
        leaf=st.sampled_from(["MILK", "CHEESE", "BREAD/ROLLS", "ICE CREAM", ""]),
        count=st.integers(1, 30),
    ),
    max_size=12,
)


def recent(*counts: CategoryCount) -> str:
    """The recent section of a user with these purchases."""
    return render(UserFacts({}, recent=counts)).recent


def test_profile_reads_as_short_english() -> None:
    """A person can read what is known of a user, section by section."""
    facts = UserFacts(
        attributes={"age": "35-44", "home_ownership": "Homeowner", "spend": 12.3456},
        recent=[CategoryCount("DAIRY", "FLUID_MILK", 1)],
        long=[CategoryCount("DAIRY", "CHEESE", 8), CategoryCount("SOFT DRINKS", "COLA", 1)],
        queries=["Oat  milk", "gift for mum"],
    )
    assert render(facts).sections == (
        "age 35-44, home ownership homeowner, spend 12.3",
        "mainly dairy (fluid milk)",
        "",
        "mainly dairy (cheese); often soft drinks (cola)",
        "oat milk, gift for mum",
    )


def test_sections_are_named_in_order() -> None:
    """The names of the sections stand in the order of their texts."""
    assert SECTIONS == ("attributes", "recent", "medium", "long", "queries")


def test_no_facts_give_empty_sections() -> None:
    """A user of whom nothing is known has an empty profile, not an invented one."""
    assert render(UserFacts({"age": None})).sections == ("", "", "", "", "")


@given(counts=COUNTS, random=st.randoms(use_true_random=False))
def test_order_of_facts_does_not_matter(counts: list[CategoryCount], random: Random) -> None:
    """However an engine delivers the counts, the text is the same."""
    shuffled = list(counts)
    random.shuffle(shuffled)
    assert recent(*shuffled) == recent(*counts)


@given(counts=COUNTS, factor=st.integers(2, 50))
def test_text_does_not_tell_activity(counts: list[CategoryCount], factor: int) -> None:
    """Two users of equal taste have equal profiles, though one buys many times as much."""
    more = [CategoryCount(fact.parent, fact.leaf, fact.count * factor) for fact in counts]
    assert recent(*more) == recent(*counts)


def test_ties_go_by_name() -> None:
    """Equally frequent categories keep one order, so that groups do not change between runs."""
    text = recent(
        CategoryCount("b", "y", 2), CategoryCount("a", "x", 1), CategoryCount("a", "w", 1)
    )
    assert text == "mainly a (w, x); mainly b (y)"


def test_only_the_largest_categories_are_told() -> None:
    """A long history gives a short text: the caps hold, the largest stay."""
    counts = [
        CategoryCount(f"p{p:02}", f"l{n:02}", 100 - p - n) for p in range(15) for n in range(9)
    ]
    text = recent(*counts)
    assert text.count(";") == MAX_PARENTS - 1
    assert text.split(";")[0].count(",") == MAX_LEAVES - 1
    assert "p00 (l00" in text
    assert "p14" not in text


@pytest.mark.parametrize(
    ("parent", "leaf", "text"),
    [
        ("", "MILK", "mainly milk"),
        ("DAIRY", "", "mainly dairy"),
        ("MILK", "milk", "mainly milk"),
        ("", "", ""),
        ("COOKIES/CONES", "ICE_CREAM-BARS", "mainly cookies cones (ice cream bars)"),
    ],
)
def test_names_become_words(parent: str, leaf: str, text: str) -> None:
    """Names written for machines are told as words, and nothing twice."""
    assert recent(CategoryCount(parent, leaf, 3)) == text


def test_spellings_of_one_name_count_together() -> None:
    """``Soft_Drinks`` and ``SOFT DRINKS`` are one category."""
    counts = [CategoryCount("Soft_Drinks", "", 1), CategoryCount("SOFT DRINKS", "", 1)]
    assert recent(*counts, CategoryCount("TEA", "", 1)) == "mainly soft drinks; mainly tea"


@given(queries=st.lists(st.text(max_size=120), max_size=30))
def test_any_query_becomes_one_bounded_line(queries: list[str]) -> None:
    """Whatever users typed, the section is one printable line of bounded length."""
    text = render(UserFacts({}, queries=queries)).queries
    assert text == " ".join(text.split())
    assert text.isprintable()
    assert len(text) <= MAX_QUERIES * (MAX_NAME_CHARS + 2)


def test_queries_are_told_once_latest_first() -> None:
    """A query that was repeated takes one place, that of its latest time."""
    facts = UserFacts({}, queries=["shoes", "Red shoes", "SHOES", "  ", "hat"])
    assert render(facts).queries == "shoes, red shoes, hat"
