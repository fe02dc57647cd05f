"""Swaps under load on two replicas of two workers: a small version of ``make bench-swap``."""

from dataclasses import replace

import pytest

from loadtests.swaps import parts
from loadtests.swaps.limits import complaints
from loadtests.swaps.parts import QUICK
from loadtests.swaps.planted import FAULTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RATE = 100.0
"""Requests per second: far below what a busy machine can answer."""
TIMINGS = {"p99_ratio"}
"""Complaints that say more of the machine, and of so short a run, than of the service."""
ROLLBACK_S = 5.0
"""Far above the time that it takes, for a machine that does other things meanwhile."""


def test_swaps_fail_nothing_mix_nothing_and_leave_no_memory_behind() -> None:
    """While models and generations change, every answer is right and of one target in its turn."""
    figures = parts.swaps(QUICK, rate=RATE)
    assert set(complaints(figures)) <= TIMINGS, figures
    assert figures["swaps"]["all"] == QUICK.swaps + QUICK.warm_up
    assert figures["targets_seen"] == figures["swaps"]["all"] + 1


def test_swaps_at_the_demos_sizes_fail_nothing_and_mix_nothing() -> None:
    """So do exported networks, and versions that come back after others."""
    figures = parts.demo_swaps(replace(QUICK, warm_up=4, demo_swaps=6))
    assert set(complaints(figures)) <= {*TIMINGS, "memory_growth", "memory_growth_200"}, figures
    assert figures["targets_seen"] == 8


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_noticed(fault: str) -> None:
    """A service that leaks, unloads first or mixes does not pass for a sound one."""
    assert FAULTS[fault].shown_by in complaints(parts.planted(QUICK, fault))


def test_rollback_reaches_every_worker_under_load() -> None:
    """Each worker soon answers by the old version, and no request fails for it."""
    figures = parts.rollbacks(QUICK, RATE)
    assert figures["rollback_s"] < ROLLBACK_S, figures
    assert figures["rollback_failed"] == 0


def test_canary_gets_its_share_and_keeps_its_users() -> None:
    """Whichever worker is asked, a user is on one side, and a growing share takes nobody out."""
    figures = parts.canary(QUICK)
    assert figures["canary_sticky"] == 1.0
    by_chance = 100 * (0.1 * 0.9 / QUICK.users) ** 0.5
    assert figures["canary_share_error"] < 5 * by_chance, figures


def test_shadow_scores_beside_the_champion_and_fails_nobody() -> None:
    """While it works and while it begins and ends, every answer is right and the champion's."""
    figures = parts.shadow(QUICK, RATE)
    assert figures["shadow_failed"] == 0, figures
    assert figures["scored"] > 0
