"""Group priors in the process, and the ladder over them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle, open_bundle
from model.generation import Generation
from service.features.ladder import climb_down, prefixes, step_name
from service.features.priors import Priors
from tests.fixtures.bundles import AS_OF_S, World

GENERATION = Generation("g", "c", AS_OF_S, AS_OF_S, 0, 0, 0, 0, complete=True)


@pytest.fixture(scope="module")
def bundle(home: Path) -> Bundle:
    """Version 1, opened."""
    return open_bundle(home / "repository" / "1")


def test_ladder_takes_the_deepest_prior_at_hand(bundle: Bundle, world: World) -> None:
    """Own prefix, then shorter ones, then the global prior, then the snapshot's level 1."""
    priors = Priors(bundle, GENERATION, 8)
    found = climb_down(priors, (0, 1))
    assert (found.prefix, found.from_snapshot) == ((0,), True)
    for prefix in [(), (0,), (0, 1)]:
        priors.add(world.groups[prefix])
        found = climb_down(priors, (0, 1))
        assert (found.prefix, found.from_snapshot) == (prefix, False)


def test_too_small_a_group_is_passed_over_for_a_newcomer(bundle: Bundle, world: World) -> None:
    """Nobody is judged by a handful of others, and everybody has the global prior."""
    priors = Priors(bundle, GENERATION, 8)
    sizes = {(0, 1): 1, (0,): 7, (): 0}
    for prefix, size in sizes.items():
        priors.add(replace(world.groups[prefix], size=size))
    assert climb_down(priors, (0, 1)).prefix == (0, 1)
    assert climb_down(priors, (0, 1), n_min=2).prefix == (0,)
    assert climb_down(priors, (0, 1), n_min=8).prefix == ()


def test_absences_are_kept_within_bounds(bundle: Bundle) -> None:
    """Asking for groups that nobody has costs neither a round trip each time nor memory."""
    priors = Priors(bundle, GENERATION, 2)
    for prefix in [(0,), (1,), (2,)]:
        priors.add_absence(prefix)
    assert [priors.is_absent(p) for p in [(0,), (1,), (2,)]] == [False, False, True]
    assert priors.get((2,)) is None


def test_snapshot_falls_back_to_its_global_prior(bundle: Bundle) -> None:
    """A prefix that the bundle never saw still gets a prior."""
    assert Priors(bundle, None, 8).snapshot((9, 9)).prefix == ()


def test_steps_are_named_by_what_answers(bundle: Bundle, world: World) -> None:
    """The figures tell a group's own prior from its replacements."""
    priors = Priors(bundle, GENERATION, 8)
    own, shorter, whole = (priors.add(world.groups[p]) for p in [(0, 1), (0,), ()])
    assert step_name(own, (0, 1), user_found=True) == "user_and_group"
    assert step_name(shorter, (0, 1), user_found=True) == "user_and_prefix_group"
    assert step_name(whole, (0, 1), user_found=True) == "global_prior"
    assert step_name(whole, (), user_found=False) == "global_prior"
    assert step_name(whole, (), user_found=True) == "user_and_group"
    assert step_name(priors.snapshot(()), (), user_found=False) == "prior_snapshot"
    assert step_name(own, (0, 1), user_found=False, newcomer=True) == "newcomer_and_group"
    assert step_name(shorter, (0, 1), user_found=False, newcomer=True) == "newcomer_and_group"
    assert step_name(whole, (0, 1), user_found=False, newcomer=True) == "global_prior"


def test_kept_priors_are_bounded_and_the_least_used_goes(bundle: Bundle, world: World) -> None:
    """Memory stays flat however many groups there are, and the global prior stays."""
    priors = Priors(bundle, GENERATION, 2)
    for prefix in [(), (0,), (1,)]:
        priors.add(world.groups[prefix])
    assert priors.get((0,)) is not None
    priors.add(world.groups[(2,)])
    kept = {p for p in [(), (0,), (1,), (2,)] if priors.get(p) is not None}
    assert kept == {(), (0,), (2,)}


def test_prior_depends_on_the_generations_moment_alone(bundle: Bundle, world: World) -> None:
    """Two generations cut a month apart see the same sequence at other ages."""
    later = Generation("h", "c", AS_OF_S + 60 * 86_400, AS_OF_S, 0, 0, 0, 0, complete=True)
    one, two = (Priors(bundle, g, 8).add(world.groups[(0,)]) for g in (GENERATION, later))
    assert np.array_equal(one.inputs["group_codes"], two.inputs["group_codes"])
    assert not np.array_equal(one.inputs["group_sequence"], two.inputs["group_sequence"])


def test_prefixes_run_down_to_the_global_one() -> None:
    """Every step of the ladder is tried."""
    assert prefixes((3, 1)) == [(3, 1), (3,), ()]
    assert prefixes(()) == [()]
