"""The digest: chosen facts and nothing else, in text that stays in its place."""

import re
from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.profile_text import CategoryCount, UserFacts
from offline.writers.digest import SENTENCES, WINDOWS, Digest, tell_sentences, tell_windows

BOTH = pytest.mark.parametrize("tell", [tell_windows, tell_sentences])
NAMES = st.text(max_size=30)
COUNTS = st.lists(st.builds(CategoryCount, NAMES, NAMES, st.integers(1, 9)), max_size=4)
FACTS = st.builds(
    UserFacts,
    st.dictionaries(NAMES, st.none() | NAMES | st.floats(-1e6, 1e6), max_size=3),
    COUNTS,
    COUNTS,
    COUNTS,
    st.lists(NAMES, max_size=4),
)
ALLOWED = re.compile(r"[\w$%&+./' ,:;()-]*\Z")


def bought(*leaves: str, queries: Sequence[str] = (), **attributes: str | None) -> UserFacts:
    """A user who bought one of each, the first ones more often."""
    counts = [CategoryCount("food", leaf, len(leaves) - at) for at, leaf in enumerate(leaves)]
    return UserFacts(attributes, recent=counts, queries=queries)


@BOTH
@given(facts=FACTS)
def test_no_text_can_leave_its_line(tell: Digest, facts: UserFacts) -> None:
    """Whatever names, values and queries hold, no quote, bracket or line break comes through."""
    for line in tell(facts, None).splitlines():
        assert ALLOWED.match(line), line


@BOTH
def test_only_allowed_attributes_are_told(tell: Digest) -> None:
    """An attribute that is not on the list never appears; None tells all; nothing tells none."""
    facts = bought("milk", age="30-39", street="elm", city=None)
    assert "elm" in tell(facts, None)
    assert "elm" not in tell(facts, ("age",))
    assert "30-39" in tell(facts, ("age",))
    assert "30-39" not in tell(facts, ())


@BOTH
def test_addresses_and_long_numbers_stay_here(tell: Digest) -> None:
    """A query may be somebody's mail address, telephone number or account."""
    queries = ["mail a.b@example.com", "http://shop.example/u/1", "call 030 5551234", "iphone 15"]
    told = tell(bought(queries=queries), None)
    assert "call, iphone 15" in told
    for secret in ("example", "a.b", "555", "030"):
        assert secret not in told


@BOTH
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("call 4111 1111 1111 1111 or", "call or"),
        ("my phone 555-123-4567", "my phone"),
        ("call +49 (0)30 / 55 51", "call"),
        ("card \uff14\uff11\uff11\uff11\uff11\uff11", "card"),
        ("pin 12\u200b34\u2060567", "pin"),
        ("ssn 123_45_6789", "ssn"),
        ("my phone 555-123-4567 www.x.com/u/7", ""),
        ("www example de", ""),
        ("jane\uff20example.com", ""),
        ("bob(at)mail.com", ""),
        ("bob [ AT ] mail [dot] com", ""),
        ("bob at mail dot com", ""),
        ("bob at mail.com", ""),
        ("bob_at_mail_dot_com", ""),
        ("shop.example/u/jane", ""),
        ("shop\u200b.example", ""),
        ("shop\uff61example", ""),
        ("polka dot dress", "polka dot dress"),
        ("milk 1.5 l, size 36", "milk 1.5 l, size 36"),
        ("u.s. flag at home", "u.s. flag at home"),
    ],
)
def test_no_spelling_takes_an_address_or_number_out(tell: Digest, query: str, told: str) -> None:
    """In blocks, in wide signs or in words: an address drops its query, a long number itself."""
    found = tell(bought("milk", queries=[query]), None)
    assert found == tell(bought("milk", queries=[told]), None)


@BOTH
@pytest.mark.parametrize("allowed", [None, ("age",), ()])
def test_attributes_alone_are_not_worth_a_request(
    tell: Digest, allowed: tuple[str, ...] | None
) -> None:
    """A user known by attributes alone is embedded by them, as a newcomer is online."""
    assert tell(UserFacts({"age": "30-39"}), allowed) == ""
    assert tell(UserFacts({}), allowed) == ""


@BOTH
@given(facts=FACTS)
def test_order_does_not_matter(tell: Digest, facts: UserFacts) -> None:
    """The same purchases in another order give the same digest, so the same cached answer."""
    turned = UserFacts(
        facts.attributes, facts.recent[::-1], facts.medium[::-1], facts.long[::-1], facts.queries
    )
    assert tell(turned, None) == tell(facts, None)


def test_words_are_what_their_version_says() -> None:
    """Facts told in other words must come under a new version: these hashes never change."""
    facts = UserFacts(
        {"age": "30-39", "income": 3.5, "city": None},
        [CategoryCount("FOOD", "MILK", 9), CategoryCount("FOOD", "", 1)],
        [CategoryCount("GARDEN", "SEEDS", 2), CategoryCount("", "", 1)],
        [CategoryCount("DRUG", "SOAP", 1)],
        ["oat (milk)", "call 555-1234", "a@b", "\uff34ea"],
    )
    told = tell_windows(facts, ("age", "income")), tell_sentences(facts, ("age", "income"))
    hashes = [sha256(text.encode()).hexdigest()[:16] for text in told]
    assert dict(zip((WINDOWS, SENTENCES), hashes, strict=True)) == {
        "windows-1": "0b0b3c690c7df517",
        "sentences-1": "f3cfc4d03691a576",
    }


def test_windows_are_told_apart() -> None:
    """The three windows, attributes and queries each have a line."""
    facts = UserFacts(
        {"age": "30-39"},
        [CategoryCount("FOOD", "MILK", 1)],
        [CategoryCount("FOOD", "BREAD", 2)],
        [CategoryCount("GARDEN", "", 1)],
        ["oat milk"],
    )
    assert tell_windows(facts, None).splitlines() == [
        "attributes: age 30-39",
        "bought recently: mainly food (milk)",
        "bought before: mainly food (bread)",
        "bought long ago: mainly garden",
        "searched for: oat milk",
    ]


def test_sentences_tell_the_largest_kinds() -> None:
    """A small model gets the six kinds bought most, most first, ties by name."""
    facts = bought("g", "f", "e", "d", "c", "b", "a", queries=["tea"], age="30-39")
    assert tell_sentences(facts, None) == (
        "About the shopper: age 30-39. The shopper buys from food. "
        "The shopper likes g, f, e, d, c, b. The shopper searches for tea."
    )
