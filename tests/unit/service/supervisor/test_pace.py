"""The pace of respawning."""

from hypothesis import given
from hypothesis import strategies as st

from service.supervisor.pace import Pace


@given(st.integers(1, 10_000))
def test_waits_grow_and_stay_bounded(ends: int) -> None:
    """A crash loop costs ever less, and is never given up."""
    pace = Pace()
    assert pace.first_s <= pace.delay_s(ends) <= pace.delay_s(ends + 1) <= pace.most_s


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_steady_life_forgives_what_was_before(lives_s: list[float]) -> None:
    """Ends in a row are those since the last steady life; one end is never a loop."""
    pace, ends = Pace(), 0
    for lived_s in lives_s:
        ends = pace.ends(ends, lived_s)
    since = 0
    for lived_s in reversed(lives_s):
        since += 1
        if lived_s >= pace.steady_s:
            break
    assert ends == since
    assert pace.looping(ends) == (since >= pace.many)


def test_first_respawn_is_prompt() -> None:
    """A worker killed once is back at once."""
    assert Pace().delay_s(1) <= 0.1
