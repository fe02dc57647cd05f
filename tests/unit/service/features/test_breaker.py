"""The circuit breaker."""

from service.features.breaker import FAILURES_TO_OPEN, OPEN_S, Breaker


def _opened() -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        assert breaker.allows(0.0)
        breaker.failed(0.0)
    return breaker


def test_opens_after_repeated_failures() -> None:
    """A dead store costs a few requests their time, not all of them."""
    breaker = _opened()
    assert breaker.is_open
    assert not breaker.allows(OPEN_S / 2)


def test_one_success_in_between_keeps_it_closed() -> None:
    """Single failures do not add up over a day."""
    breaker = Breaker()
    for _ in range(3 * FAILURES_TO_OPEN):
        breaker.failed(0.0)
        breaker.succeeded()
    assert not breaker.is_open


def test_one_probe_at_a_time_decides() -> None:
    """While half open, one request pays for finding out, the others do not wait."""
    breaker = _opened()
    assert breaker.allows(OPEN_S)
    assert not breaker.allows(OPEN_S)
    breaker.succeeded()
    assert breaker.allows(OPEN_S)
    assert not breaker.is_open


def test_failed_probe_opens_it_again() -> None:
    """A store that is still dead is left alone for another while."""
    breaker = _opened()
    assert breaker.allows(OPEN_S)
    breaker.failed(OPEN_S)
    assert not breaker.allows(OPEN_S * 1.5)
    assert breaker.allows(OPEN_S * 2)


def test_cancelled_probe_leaves_room_for_the_next() -> None:
    """A caller who leaves during the probe does not lock the store out for good."""
    breaker = _opened()
    assert breaker.allows(OPEN_S)
    breaker.gave_up()
    assert breaker.allows(OPEN_S)
