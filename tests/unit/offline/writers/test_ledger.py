"""The ledger: exact sums, and a budget that nothing can overrun."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.writers.ledger import Attempt, BudgetSpent, Ledger, Totals
from tests.fixtures.writers import all_runs

REQUESTS = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 100), st.booleans()), max_size=30)


@given(REQUESTS, st.integers(0, 500), st.integers(1, 4))
def test_a_budget_holds_for_any_order(
    requests: list[tuple[int, int, bool]], budget: int, under_way: int
) -> None:
    """However requests overlap, what was spent never exceeds the budget, if bounds are bounds."""
    with TemporaryDirectory() as name:
        ledger = Ledger(Path(name), budget)
        waiting: list[tuple[int, Attempt]] = []
        for bound, cost, stated in requests:
            spent = min(bound, cost)
            attempt = Attempt("written", 1, spent) if stated else Attempt("timeout", 1, 0, 0, bound)
            try:
                while not ledger.reserve(bound):
                    ledger.settle(*waiting.pop(0))
            except BudgetSpent:
                assert ledger.run.tokens + bound > budget
                break
            waiting.append((bound, attempt))
            if len(waiting) >= under_way:
                ledger.settle(*waiting.pop(0))
        for pair in waiting:
            ledger.settle(*pair)
        assert ledger.run.tokens <= budget
        ledger.close()
        assert all_runs(Path(name)) == ledger.run


def test_sums_are_kept_over_runs(tmp_path: Path) -> None:
    """The log sums up every run; a run's own totals and budget start at nothing."""
    for _ in range(2):
        ledger = Ledger(tmp_path, 100)
        ledger.reserve(90)
        ledger.settle(90, Attempt("written", 1, 50, 10))
        ledger.reserve(40)
        ledger.settle(40, Attempt("timeout", 2, unstated_tokens=40))
        assert ledger.run.tokens == 100
        ledger.close()
    outcomes = Counter(timeout=2, written=2)
    assert all_runs(tmp_path) == Totals(100, 20, 80, outcomes)


def test_the_message_says_what_to_do(tmp_path: Path) -> None:
    """A spent budget names what is spent, what is left and how to go on."""
    ledger = Ledger(tmp_path, 10)
    with pytest.raises(BudgetSpent, match=r"0 tokens are spent .* of 10; .* may cost 11: run it"):
        ledger.reserve(11)


def test_no_budget_is_no_bound(tmp_path: Path) -> None:
    """Without a budget everything is counted and nothing refused."""
    ledger = Ledger(tmp_path, None)
    ledger.reserve(10**12)
    ledger.settle(10**12, Attempt("written", 1, 10**12))
    assert ledger.run.tokens == 10**12
