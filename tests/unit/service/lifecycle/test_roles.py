"""Roles: who answers whom."""

from typing import cast

from service.lifecycle.roles import Roles
from service.lifecycle.served_model import ServedModel

CHAMPION = cast("ServedModel", "champion")
CANARY = cast("ServedModel", "canary")
USERS = [f"user-{number}" for number in range(2000)]


def test_canary_answers_its_side_and_the_champion_the_rest() -> None:
    """Both answer, each always the same users."""
    roles = Roles(CHAMPION, CANARY, 0.2, "salt")
    chosen = [roles.choose(user, tester=False) for user in USERS]
    assert chosen == [roles.choose(user, tester=False) for user in USERS]
    assert 0.15 < chosen.count(CANARY) / len(USERS) < 0.25


def test_champion_answers_everybody_without_a_canary() -> None:
    """A canary that is not ready, or has ended, costs nobody an answer."""
    roles = Roles(CHAMPION, None, 0.9, "salt", testers=True)
    assert all(roles.choose(user, tester=True) is CHAMPION for user in USERS)


def test_testers_get_the_canary_where_they_may() -> None:
    """The header works for the testers of a canary that admits them, and does nothing else."""
    admitted = Roles(CHAMPION, CANARY, 0.0, "salt", testers=True)
    assert all(admitted.choose(user, tester=True) is CANARY for user in USERS)
    assert all(admitted.choose(user, tester=False) is CHAMPION for user in USERS)
    others = Roles(CHAMPION, CANARY, 0.0, "salt", testers=False)
    assert all(others.choose(user, tester=True) is CHAMPION for user in USERS)


def test_nothing_answers_before_anything_is_active() -> None:
    """There is no champion yet, and it is not made up."""
    assert Roles().choose("user", tester=True) is None
    assert Roles().serving == frozenset()
