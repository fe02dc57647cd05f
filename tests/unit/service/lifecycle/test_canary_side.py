"""The canary's side of users."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.lifecycle.canary_side import on_canary_side

USERS = [f"user-{number}" for number in range(100_000)]
users = st.text(min_size=1, max_size=64)
salts = st.text("abcXYZ019_-", min_size=1, max_size=64)
shares = st.floats(0, 1)


def _share(salt: str, share: float) -> float:
    return sum(on_canary_side(user, salt, share) for user in USERS) / len(USERS)


@pytest.mark.parametrize("salt", ["salt", "9f86d081", "another"])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_share_of_a_canary_is_what_was_asked_for(salt: str, share: float) -> None:
    """Over 100,000 users the share found lies within 0.3 points of the share asked for."""
    assert abs(_share(salt, share) - share) <= 0.003


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_large_shares_differ_by_chance_alone(share: float) -> None:
    """What a fair hash of 100,000 users gives: within four standard deviations."""
    deviation = (share * (1 - share) / len(USERS)) ** 0.5
    assert abs(_share("salt", share) - share) <= 4 * deviation


def test_integers_and_words_are_shared_alike() -> None:
    """Ids need not be random: consecutive numbers are shared as exactly as any."""
    found = sum(on_canary_side(str(number), "another", 0.1) for number in range(100_000)) / 100_000
    assert abs(found - 0.1) <= 0.003


@given(users, salts, shares, shares)
def test_growing_share_keeps_everyone_who_was_in(
    user: str, salt: str, one: float, other: float
) -> None:
    """Nobody is moved back and forth while a canary grows."""
    small, large = sorted((one, other))
    assert on_canary_side(user, salt, small) <= on_canary_side(user, salt, large)


@given(users, salts)
def test_nothing_is_nobody_and_everything_everybody(user: str, salt: str) -> None:
    """A share of 0 moves no user, a share of 1 all."""
    assert not on_canary_side(user, salt, 0.0)
    assert on_canary_side(user, salt, 1.0)


@given(users, salts, shares)
def test_side_is_sticky(user: str, salt: str, share: float) -> None:
    """A user asks twice and gets the same side; it follows from id, salt and share alone."""
    assert on_canary_side(user, salt, share) == on_canary_side(str(user), str(salt), float(share))


def test_another_salt_shuffles_everyone() -> None:
    """The next canary is not tried on the same users again."""
    first = {user for user in USERS if on_canary_side(user, "one", 0.1)}
    both = {user for user in first if on_canary_side(user, "two", 0.1)}
    assert 0.05 < len(both) / len(first) < 0.15


def test_sides_of_a_few_users_never_change() -> None:
    """Every build on every machine agrees, so that replicas of two builds do."""
    side = [user for user in USERS[:40] if on_canary_side(user, "salt", 0.1)]
    assert side == PINNED


PINNED = ["user-26", "user-39"]
