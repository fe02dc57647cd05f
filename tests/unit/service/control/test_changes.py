"""Steps from one revision to the next: in whatever order, the document stays sound."""

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.desired import Canary, Change, Desired, Shadow, Target
from service.control import changes
from service.errors import ChangeRefused
from tests.control import desired_state

CHANGE = Change("a step", "ann@host", "because", 5.0)
FIRST, SECOND, THIRD = Target(1, "g1"), Target(2, "g1"), Target(3, "g2")

_targets = st.builds(Target, st.integers(1, 3), st.sampled_from(["g1", "g2"]))
_canaries = st.builds(Canary, _targets, st.sampled_from([0, 0.05, 1.0]), st.booleans())
_shadows = st.builds(Shadow, _targets, st.sampled_from([0, 0.1, 1.0]))
_salts = st.sampled_from(["a", "b", "c"])

Step = Callable[[Desired], Desired]

_steps: st.SearchStrategy[Step] = st.one_of(
    _targets.map(lambda t: lambda d: changes.prepare(d, t, CHANGE)),
    _targets.map(lambda t: lambda d: changes.activate(d, t, CHANGE)),
    st.tuples(_canaries, _salts).map(lambda c: lambda d: changes.start_canary(d, *c, CHANGE)),
    _canaries.map(lambda c: lambda d: changes.reshare_canary(d, c, CHANGE)),
    _shadows.map(lambda s: lambda d: changes.start_shadow(d, s, CHANGE)),
    st.sampled_from(
        [
            lambda d: changes.withdraw(d, CHANGE),
            lambda d: changes.stop_canary(d, CHANGE),
            lambda d: changes.stop_shadow(d, CHANGE),
            lambda d: changes.rollback(d, CHANGE),
            lambda d: changes.again(d, CHANGE),
        ]
    ),
)


def _walk(steps: list[Step]) -> list[Desired]:
    states = [desired_state()]
    for step in steps:
        with suppress(ChangeRefused):
            states.append(step(states[-1]))
    return states


@given(st.lists(_steps, max_size=40))
def test_any_sequence_of_steps_gives_sound_documents(steps: list[Step]) -> None:
    """Each revision is one more, reads back as written, and no champion was never prepared."""
    states = _walk(steps)
    for before, after in pairwise(states):
        assert after.revision == before.revision + 1
        assert Desired.from_json(after.to_json()) == after
        assert after.champion in (before.champion, before.candidate, before.previous)
        assert after.candidate != after.champion
        assert after.previous != after.champion
        for role in (after.canary, after.shadow):
            assert role is None or role.target != after.champion


@given(st.lists(_steps, max_size=40))
def test_canary_is_always_prepared_and_its_users_stay(steps: list[Step]) -> None:
    """A target becomes canary from candidate alone; the salt changes only with a new canary."""
    states = _walk(steps)
    for before, after in pairwise(states):
        if after.canary is not None and after.canary != before.canary:
            known = None if before.canary is None else before.canary.target
            assert after.canary.target in (before.candidate, known)
        if before.canary is not None and after.canary is not None:
            assert after.salt == before.salt
            assert after.canary.target.version == before.canary.target.version


@given(st.lists(_steps, max_size=40))
def test_rollback_of_a_rollback_changes_nothing_but_the_revision(steps: list[Step]) -> None:
    """An operator who went back by mistake goes forward by the same command."""
    state = _walk(steps)[-1]
    if state.previous is None or state.candidate is not None:
        return
    if state.previous in [role.target for role in (state.canary, state.shadow) if role]:
        return
    there = changes.rollback(state, CHANGE)
    assert there.champion == state.previous
    back = changes.rollback(there, CHANGE)
    assert back == changes.again(changes.again(state, CHANGE), CHANGE)


def test_withdrawn_candidate_leaves_everything_as_it_was() -> None:
    """A version that failed somewhere has touched nothing."""
    state = desired_state()
    withdrawn = changes.withdraw(changes.prepare(state, SECOND, CHANGE), CHANGE)
    assert withdrawn == changes.again(changes.again(state, CHANGE), CHANGE)


def test_canary_that_is_promoted_ends_as_canary() -> None:
    """After the promotion all users are with it, and the former champion is kept for a rollback."""
    state = changes.prepare(desired_state(), SECOND, CHANGE)
    state = changes.start_canary(state, Canary(SECOND, 0.1), "s", CHANGE)
    state = changes.activate(changes.prepare(state, SECOND, CHANGE), SECOND, CHANGE)
    assert (state.champion, state.previous, state.canary) == (SECOND, FIRST, None)


def test_canary_that_is_stopped_is_not_promoted_a_moment_later() -> None:
    """A guard that ends a canary ends its promotion under way, too; that of another one goes on."""
    state = changes.prepare(desired_state(), SECOND, CHANGE)
    state = changes.start_canary(state, Canary(SECOND, 0.1), "s", CHANGE)
    stopped = changes.stop_canary(changes.prepare(state, SECOND, CHANGE), CHANGE)
    assert (stopped.canary, stopped.candidate) == (None, None)
    other = Target(1, "g2")
    assert changes.stop_canary(changes.prepare(state, other, CHANGE), CHANGE).candidate == other


def test_generation_moves_alone_beside_a_canary() -> None:
    """The daily generation of the champion waits for no canary's end."""
    state = changes.prepare(desired_state(), SECOND, CHANGE)
    state = changes.start_canary(state, Canary(SECOND, 0.1), "s", CHANGE)
    newer = Target(1, "g2")
    changes.check_promotion(state, newer)
    state = changes.activate(changes.prepare(state, newer, CHANGE), newer, CHANGE)
    assert (state.champion, state.previous) == (newer, FIRST)
    assert state.canary == Canary(SECOND, 0.1)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda d: changes.prepare(d, FIRST, CHANGE), "1/g1 is the champion already"),
        (lambda d: changes.prepare(d, THIRD, CHANGE), "2/g1 is being prepared (revision 2, a st"),
        (lambda d: changes.activate(d, THIRD, CHANGE), "3/g2 is no longer the candidate: revisi"),
        (lambda d: changes.rollback(d, CHANGE), "there is no previous champion to go back to"),
        (lambda d: changes.stop_canary(d, CHANGE), "there is no canary to stop"),
        (lambda d: changes.stop_shadow(d, CHANGE), "there is no shadow to stop"),
        (
            lambda d: changes.start_shadow(d, Shadow(FIRST, 0.1), CHANGE),
            "1/g1 is the champion already",
        ),
        (lambda d: changes.start_shadow(d, Shadow(SECOND, 0), CHANGE), "sample 0 scores nothing"),
        (lambda d: changes.check_canary(d, Canary(FIRST, 0.1)), "1/g1 is the champion already"),
        (
            lambda d: changes.reshare_canary(d, Canary(SECOND, 0.1), CHANGE),
            "2/g1 is not the canary",
        ),
        (lambda d: changes.withdraw(changes.withdraw(d, CHANGE), CHANGE), "there is no candidate"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(step: Step, reason: str) -> None:
    """Each refusal names what stands in the way."""
    state = changes.prepare(desired_state(), SECOND, CHANGE)
    with pytest.raises(ChangeRefused) as caught:
        step(state)
    assert reason in caught.value.detail


def test_third_version_waits_for_the_canary() -> None:
    """A canary keeps the champion that it is compared with, and two versions never share a role."""
    state = changes.prepare(desired_state(), SECOND, CHANGE)
    state = changes.start_canary(state, Canary(SECOND, 0.1), "s", CHANGE)
    with pytest.raises(ChangeRefused, match="2/g1 is the canary; stop it or promote it"):
        changes.check_promotion(state, THIRD)
    with pytest.raises(ChangeRefused, match="2/g1 is the canary; stop it or promote it"):
        changes.check_canary(state, Canary(THIRD, 0.1))


def test_step_that_would_change_nothing_is_refused() -> None:
    """The history holds changes alone."""
    state = changes.prepare(desired_state(), SECOND, CHANGE)
    state = changes.start_canary(state, Canary(SECOND, 0.1), "s", CHANGE)
    state = changes.start_shadow(state, Shadow(THIRD, 0.1), CHANGE)
    with pytest.raises(ChangeRefused, match="has this share already"):
        changes.reshare_canary(state, Canary(SECOND, 0.1), CHANGE)
    with pytest.raises(ChangeRefused, match="is the shadow already"):
        changes.start_shadow(state, Shadow(THIRD, 0.1), CHANGE)
