"""The operator's orders: promote, canary, shadow, rollback; each answers with every verdict."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from secrets import token_hex
from typing import Any

from model.desired import Canary, Change, Desired, Shadow, Target
from service.control import changes
from service.control.agreement import Agreement, Step, not_converged
from service.control.convergence import Verdict, digests, summary, verdicts
from service.control.finding import Finding, Guards
from service.control.orders import Order, Outcome, Result, roles
from service.control.targets import Targets
from service.errors import GuardRefused, NotConverged

_NOTHING = Finding()


class Operator:
    """Carries out orders, for whichever replica is asked."""

    def __init__(self, agreement: Agreement, targets: Targets, guards: Guards) -> None:
        """Join the parts.

        Args:
            agreement: changes the document and waits for the replicas.
            targets: what may be asked for.
            guards: judge a promotion.
        """
        self._agreement = agreement
        self._targets = targets
        self._guards = guards

    async def promote(self, order: Order, version: int, generation: str | None) -> Outcome:
        """Make a target ready everywhere, then champion.

        Args:
            order: who asks, and why.
            version: the model version; the champion's own to move its generation alone.
            generation: None: the newest one that fits.

        Raises:
            LoadRefused: when there is no such target.
            GuardRefused: when a guard says no and is not overruled.
            ChangeRefused: when it makes no sense now, or somebody withdrew it meanwhile.
            NotConverged: when a worker could not follow; told whether it was withdrawn.
            StateUnavailable: when the state store cannot be reached.
        """
        run = _Run("promote", order)
        present, target = await self._asked(version, generation)
        if target == present.champion:
            return run.outcome("already", present, present, said=await self._said(target))
        changes.check_promotion(present, target)
        run.finding = await self._judged(present, target, order)
        if order.dry_run:
            return run.outcome("planned", present, _promoted(present, target, run.change()))
        before, said = await self._make_ready(run, target)
        _, after = await self._agreement.change(
            lambda desired: (
                desired
                if desired.champion == target
                else changes.activate(desired, target, run.change("activate", said))
            )
        )
        said = await self._agreement.until_followed(after, target)
        return run.outcome("done", before, after, said=said)

    async def canary(
        self, order: Order, version: int, generation: str | None, share: float, testers: bool
    ) -> Outcome:
        """Make a target ready everywhere, then let it answer a share of the users.

        Args:
            order: who asks, and why.
            version: the model version; the canary's own to change its share.
            generation: None: the newest one that fits.
            share: of users, 0 to 1; 0: testers alone.
            testers: whether callers may ask for it by a header.

        Raises:
            LoadRefused, ChangeRefused, NotConverged, StateUnavailable: as ``promote``.
        """
        run = _Run("canary", order)
        present, target = await self._asked(version, generation)
        wanted = Canary(target, share, testers)
        if present.canary == wanted:
            return run.outcome("already", present, present, said=await self._said(target))
        changes.check_canary(present, wanted)
        salt = token_hex(8)
        if order.dry_run:
            return run.outcome("planned", present, replace(present, canary=wanted))
        if present.canary is not None and present.canary.target == target:
            return await self._step(
                run, lambda desired: changes.reshare_canary(desired, wanted, run.change("share"))
            )
        before, said = await self._make_ready(run, target)
        _, after = await self._agreement.change(
            lambda desired: (
                desired
                if desired.canary == wanted
                else changes.start_canary(desired, wanted, salt, run.change("start canary", said))
            )
        )
        said = await self._agreement.until_followed(after, target)
        return run.outcome("done", before, after, said=said)

    async def stop_canary(self, order: Order) -> Outcome:
        """Give the canary's users back to the champion; errors as ``promote``."""
        run = _Run("stop canary", order)
        return await self._step(run, lambda desired: changes.stop_canary(desired, run.change()))

    async def shadow(
        self, order: Order, version: int, generation: str | None, sample: float
    ) -> Outcome:
        """Let a target score a sample of the requests beside the champion; errors as ``promote``.

        Args:
            order: who asks, and why.
            version: the model version.
            generation: None: the newest one that fits.
            sample: of requests, above 0 and at most 1.
        """
        run = _Run("shadow", order)
        present, target = await self._asked(version, generation)
        wanted = Shadow(target, sample)
        if present.shadow == wanted:
            return run.outcome("already", present, present)
        return await self._step(
            run, lambda desired: changes.start_shadow(desired, wanted, run.change())
        )

    async def stop_shadow(self, order: Order) -> Outcome:
        """End the shadow; errors as ``promote``."""
        run = _Run("stop shadow", order)
        return await self._step(run, lambda desired: changes.stop_shadow(desired, run.change()))

    async def rollback(self, order: Order) -> Outcome:
        """Go back to the previous champion, which is still loaded; errors as ``promote``."""
        run = _Run("rollback", order)
        return await self._step(run, lambda desired: changes.rollback(desired, run.change()))

    async def withdraw(self, order: Order) -> Outcome:
        """Give up what is being prepared; errors as ``promote``."""
        run = _Run("withdraw", order)
        return await self._step(run, lambda desired: changes.withdraw(desired, run.change()))

    async def _asked(self, version: int, generation: str | None) -> tuple[Desired, Target]:
        target = await self._targets.choose(version, generation)
        return await self._agreement.present(), target

    async def _judged(self, present: Desired, target: Target, order: Order) -> Finding:
        finding = await self._guards.judge_promotion(present.champion, target)
        if finding.refused and not (order.force or order.dry_run):
            raise GuardRefused(
                "; ".join(finding.reasons) + "; force it with a reason if you know better",
                guard=asdict(finding),
            )
        return finding

    async def _step(self, run: "_Run", step: Step) -> Outcome:
        """A change of roles between what is loaded already."""
        if run.order.dry_run:
            present = await self._agreement.present()
            planned = step(present)
            said = await self._said(planned.champion)
            return run.outcome("planned", present, planned, said=said)
        before, after = await self._agreement.change(step)
        said = await self._agreement.until_followed(after, after.champion)
        return run.outcome("done", before, after, said=said)

    async def _make_ready(self, run: "_Run", target: Target) -> tuple[Desired, tuple[Verdict, ...]]:
        """Make a target candidate and wait; whoever asked for the same one already is joined."""
        before, prepared = await self._agreement.change(
            lambda desired: run.prepared(desired, target)
        )
        try:
            desired = await self._agreement.until_ready(prepared, target, run.order.within_s)
            said = await self._said(target)
            if desired.candidate == target:
                _check_ready(target, said)
        except NotConverged as refusal:
            await self._withdraw(run, target, refusal)
            raise NotConverged(
                f"{refusal.detail}; it was withdrawn, and {prepared.champion} serves as before",
                **refusal.members,
            ) from refusal
        return before, said

    async def _withdraw(self, run: "_Run", target: Target, refusal: NotConverged) -> None:
        change = run.change("withdraw", await self._said(target), {"refused": refusal.detail})
        await self._agreement.change(
            lambda desired: (
                changes.withdraw(desired, change) if desired.candidate == target else desired
            )
        )

    async def _said(self, target: Target) -> tuple[Verdict, ...]:
        return verdicts(await self._agreement.replicas(), target)


class _Run:
    """One order under way."""

    def __init__(self, action: str, order: Order) -> None:
        self.action = action
        self.order = order
        self.finding = _NOTHING
        self._begun_s = time.monotonic()

    def change(
        self,
        action: str | None = None,
        said: tuple[Verdict, ...] = (),
        evidence: Mapping[str, Any] | None = None,
    ) -> Change:
        """The entry in the audit log."""
        found: dict[str, Any] = {**self.order.evidence, **(evidence or {})}
        if self.finding != _NOTHING:
            found["guard"] = asdict(self.finding)
        if said:
            found |= summary(said)
        forced = self.finding.refused and self.order.force
        who, why = self.order.who, self.order.why
        return Change(action or self.action, who, why, time.time(), forced, found)

    def prepared(self, desired: Desired, target: Target) -> Desired:
        """The document with the candidate; the same one when it is that already."""
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
            verdicts=said,
            seconds=time.monotonic() - self._begun_s,
        )


def _promoted(present: Desired, target: Target, change: Change) -> Desired:
    prepared = replace(present, candidate=target)
    return changes.activate(prepared, target, change)


def _check_ready(target: Target, said: tuple[Verdict, ...]) -> None:
    if not all(verdict.ready for verdict in said):
        raise not_converged(f"{target} is not ready everywhere", said)
    if len(found := digests(said)) > 1:
        raise not_converged(
            f"workers loaded different bundles as {target}, by digest {', '.join(found)}; "
            "do all replicas read one repository?",
            said,
        )
