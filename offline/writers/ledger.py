"""The token ledger: every attempt with what it cost, and a budget that is never overrun."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from offline.writers.append_log import AppendLog
from offline.writers.writer import WriterFailed


class BudgetSpent(WriterFailed):
    """The next request might cost more than the budget has left."""


class Attempt(msgspec.Struct, frozen=True):
    """One request and what came of it."""

    outcome: str
    """"written", or a kind of failure."""
    number: int
    """Which attempt for the same user, from 1."""
    prompt_tokens: int = 0
    """As the endpoint stated; 0 where it stated nothing."""
    completion_tokens: int = 0
    unstated_tokens: int = 0
    """The most that a request without stated usage may have cost."""

    @property
    def tokens(self) -> int:
        """What the budget is charged."""
        return self.prompt_tokens + self.completion_tokens + self.unstated_tokens


@dataclass
class Totals:
    """Sums over attempts."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    unstated_tokens: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        """All that counts against a budget."""
        return self.prompt_tokens + self.completion_tokens + self.unstated_tokens

    def add(self, attempt: Attempt) -> None:
        """Count one attempt."""
        self.prompt_tokens += attempt.prompt_tokens
        self.completion_tokens += attempt.completion_tokens
        self.unstated_tokens += attempt.unstated_tokens
        self.outcomes[attempt.outcome] += 1


class Ledger:
    """Attempts of one run, appended to a log that keeps those of all runs."""

    def __init__(self, folder: Path, budget_tokens: int | None) -> None:
        """Open the ledger.

        Args:
            folder: where its log stands, beside the answers.
            budget_tokens: most that this run may spend; None = no bound.
        """
        self._log = AppendLog(folder, "ledger")
        self._budget = budget_tokens
        self._reserved = 0
        self.run = Totals()
        """Attempts since this ledger was opened."""

    def reserve(self, bound_tokens: int) -> bool:
        """Set the most that a request can cost aside, before it is sent.

        Args:
            bound_tokens: an upper bound.

        Returns:
            Whether it is set aside; False = it fits once requests under way have cost less than
            is set aside for them.

        Raises:
            BudgetSpent: when it does not fit beside what is spent.
        """
        if self._budget is not None:
            left = self._budget - self.run.tokens
            if bound_tokens > left:
                raise BudgetSpent(
                    f"{self.run.tokens} tokens are spent of a budget of {self._budget}; the next"
                    f" request may cost {bound_tokens}: run it again with a fresh budget, and it"
                    " goes on where it stopped"
                )
            if bound_tokens > left - self._reserved:
                return False
        self._reserved += bound_tokens
        return True

    def settle(self, bound_tokens: int, attempt: Attempt) -> None:
        """Replace what was set aside by what the request cost.

        Args:
            bound_tokens: as reserved.
            attempt: what came of it.
        """
        self._reserved -= bound_tokens
        self.run.add(attempt)
        self._log.append(msgspec.json.encode(attempt))

    def close(self) -> None:
        """Give the file back."""
        self._log.close()
