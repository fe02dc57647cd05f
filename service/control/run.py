"""The run: one order under way, with its entries in the audit log and what is told of it."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from model.desired import Change, Desired, Target
from service.control import changes
from service.control.convergence import Verdict, summary
from service.control.finding import Finding
from service.control.orders import Order, Outcome, Result, roles
from service.errors import ChangeRefused

_NO_FINDING = Finding()


class Run:
    """One order under way."""

    def __init__(self, action: str, order: Order) -> None:
        """Begin it, and the clock.

        Args:
            action: for the audit log.
            order: who asks, and why.
        """
        self.action = action
        self.order = order
        self.finding = _NO_FINDING
        """What the guards say of it."""
        self.target: Target | None = None
        """What it asks for, with what was left out filled in; None: it names none."""
        self._begun_s = time.monotonic()

    def change(
        self,
        action: str | None = None,
        said: tuple[Verdict, ...] = (),
        evidence: Mapping[str, Any] | None = None,
    ) -> Change:
        """The entry in the audit log."""
        found: dict[str, Any] = {**self.order.evidence, **(evidence or {})}
        if self.finding != _NO_FINDING:
            found["guard"] = asdict(self.finding)
        if said:
            found |= summary(said)
        forced = self.finding.refused and self.order.force
        who, why = self.order.who, self.order.why
        return Change(action or self.action, who, why, time.time(), forced, found)

    def shown(self, desired: Desired) -> Desired:
        """The document, which must be the one whose plan was agreed to.

        Raises:
            ChangeRefused: when another one holds by now.
        """
        if self.order.revision not in (None, desired.revision):
            change = desired.change
            raise ChangeRefused(
                f"this was asked for revision {self.order.revision}, and revision "
                f"{desired.revision} holds: {change.action} by {change.who}: {change.why}; "
                "nothing was changed; look again"
            )
        return desired

    def prepared(self, desired: Desired, target: Target) -> Desired:
        """The document with the candidate; the same one when it is that already."""
        self.shown(desired)
        if desired.candidate == target and desired.change.action == self.action:
            return desired
        within = {"within_s": self.order.within_s}
        return changes.prepare(desired, target, self.change(evidence=within))

    def outcome(
        self, result: Result, before: Desired, after: Desired, said: tuple[Verdict, ...] = ()
    ) -> Outcome:
        """What is told."""
        return Outcome(
            action=self.action,
            result=result,
            revision=before.revision if result == "planned" else after.revision,
            before=roles(before),
            after=roles(after),
            guard=self.finding,
            generation=None if self.target is None else self.target.generation,
            verdicts=said,
            seconds=time.monotonic() - self._begun_s,
        )
