"""Cards: what is told of a group is what its members have and buy."""

import numpy as np
import pytest

from offline.group_report import cards
from offline.group_report.cards import Card, Members, make_cards
from offline.group_report.description import by_template
from tests.fixtures.group_content import CODES, N_MIN, members, profile


def made(users: Members | None = None) -> dict[str, Card]:
    """Cards by prefix."""
    found = make_cards(users or members(), {(1,): ("tea", "cups")}, profile, N_MIN)
    return {card.prefix: card for card in found}


def test_every_group_of_every_depth_has_a_card() -> None:
    """Sizes add up to the users that have a group, depth by depth."""
    found = made()
    for depth in (1, 2):
        sizes = [card.size for card in found.values() if len(card.group) == depth]
        assert sum(sizes) == 180
    assert sum(card.share for card in found.values()) == pytest.approx(2)
    assert str(CODES) not in found


def test_figures_of_a_card_are_those_of_its_members() -> None:
    """Activity, attributes, means, categories and lift, each counted by hand."""
    users, card = members(), made()["1"]
    inside = users.codes[:, 0] == 1
    assert card.size == inside.sum()
    assert sum(card.activity) == card.size
    assert card.activity[0] == (users.activity_level[inside] == 1).sum()
    age, fact = users.attributes["age_band"][0], card.attributes[0]
    assert (fact.value, fact.share) == ("60+", 1.0)
    known = age[(users.codes[:, 0] != CODES) & (age >= 0)]
    assert fact.lift == pytest.approx(1 / np.mean(known == 1))
    assert card.numbers[0][:2] == ("income", 11.0)
    bought = users.category[inside[users.buyer]]
    most = card.categories[0]
    assert most.value == "snow shoes"
    assert most.share == pytest.approx(np.mean(bought == 1))
    assert most.lift == pytest.approx(np.mean(bought == 1) / np.mean(users.category == 1))
    assert card.purchases == len(bought)
    assert card.sequence == ("tea", "cups")
    recent = users.category[inside[users.buyer] & (users.window == 0)]
    counts = np.bincount(recent, minlength=4)
    assert card.windows[0] == tuple(
        users.categories[c] for c in np.argsort(-counts, kind="stable") if counts[c]
    )


def test_samples_are_the_most_typical_members_without_ids() -> None:
    """The profiles shown are those nearest to the centroids."""
    users = members()
    inside = np.flatnonzero(users.codes[:, 0] == 2)
    nearest = inside[np.argsort(users.distance[inside])[:3]]
    shown = [one["attributes"] for one in made()["2"].samples]
    assert shown == [f"profile of number {user}" for user in nearest]


def test_cards_are_told_from_typical_facts() -> None:
    """A title and two sentences name what sets the group apart."""
    told = by_template(made()["1"])
    assert "age band 60+" in told.name
    assert told.name.endswith("snow shoes")
    assert "age band 60+ (100% of those known)" in told.summary
    assert "Bought most: snow shoes" in told.summary
    assert told.writer == "template"


def test_a_group_of_which_nothing_is_known_has_a_card() -> None:
    """No attribute, no purchase: the card says so."""
    users = members()
    bare = Members(
        codes=users.codes,
        no_group=users.no_group,
        distance=users.distance,
        activity_level=users.activity_level,
        attributes={
            name: (np.full(200, -1), texts) for name, (_, texts) in users.attributes.items()
        },
        continuous={},
        buyer=np.empty(0, np.int64),
        category=np.empty(0, np.int64),
        categories=(),
        window=np.empty(0, np.int64),
    )
    card = made(bare)["0"]
    assert card.attributes == card.categories == card.distinctive == ()
    told = by_template(card)
    assert (told.name, told.summary) == ("no facts known", "No purchases before the cut.")


def test_very_many_groups_keep_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page stays small enough to open: all level-1 groups, then the largest others."""
    everything = made()
    monkeypatch.setattr(cards, "MAX_CARDS", 5)
    kept = list(made().values())
    assert [len(card.group) for card in kept] == [1, 1, 1, 2, 2]
    others = [card.size for card in everything.values() if len(card.group) == 2]
    assert [card.size for card in kept[3:]] == sorted(others, reverse=True)[:2]
