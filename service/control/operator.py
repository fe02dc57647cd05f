"""The operator's orders: promote, canary, shadow, rollback; each answers with every verdict."""

from dataclasses import asdict, replace
from secrets import token_hex

from model.desired import Desired, Shadow, Target
from service.control import changes
from service.control.agreement import Agreement, Step, not_converged
from service.control.convergence import (
    Verdict,
    complaints,
    digests,
    held_contract,
    verdicts,
)
from service.control.finding import Finding, Guards
from service.control.orders import Order, Outcome, Result
from service.control.run import Run
from service.control.targets import Targets
from service.errors import GuardRefused, NotConverged


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
            generation: None: the canary's, where it is of this version; else the newest one
                that fits.

        Raises:
            LoadRefused: when there is no such target.
            GuardRefused: when a guard says no and is not overruled.
            ChangeRefused: when it makes no sense now, or somebody withdrew it meanwhile.
            NotConverged: when a worker could not follow; told whether it was withdrawn.
            StateUnavailable: when the state store cannot be reached.
        """
        run = Run("promote", order)
        present = await self._agreement.present()
        canary = present.canary.target if present.canary else None
        target = run.target = await self._asked(present, version, generation, canary)
        if target == present.champion:
            return run.outcome("already", present, present, said=await self._said(target))
        changes.check_promotion(present, target)
        run.finding = await self._judged(present, target, order)
        if order.dry_run:
            prepared = run.prepared(present, target)
            planned = changes.activate(prepared, target, run.change())
            return run.outcome("planned", present, planned)
        before, said = await self._make_ready(run, target)
        _, after = await self._agreement.insist(
            lambda desired: (
                desired
                if desired.champion == target
                else changes.activate(desired, target, run.change("activate", said))
            )
        )
        said = await self._agreement.until_followed(after, target)
        return run.outcome("done", before, after, said=said)

    async def canary(
        self,
        order: Order,
        version: int,
        generation: str | None,
        share: float | None = None,
        testers: bool | None = None,
    ) -> Outcome:
        """Make a target ready everywhere, then let it answer a share of the users.

        Args:
            order: who asks, and why.
            version: the model version; the canary's own to change its share.
            generation: None: the canary's own, where it is of this version; else the newest one
                that fits.
            share: of users, 0 to 1; 0: testers alone; None: as it was, and 0 for a new canary.
            testers: whether callers may ask for it by a header; None: as it was, and no for a new
                canary with a share.

        Raises:
            LoadRefused, ChangeRefused, NotConverged, StateUnavailable: as ``promote``.
        """
        run = Run("canary", order)
        present = await self._agreement.present()
        running = present.canary
        target = run.target = await self._asked(
            present, version, generation, running.target if running else None
        )
        kept = running if running is not None and running.target.version == version else None
        wanted = changes.wanted_canary(target, kept, share, testers)
        if running == wanted:
            return run.outcome("already", present, present, said=await self._said(target))
        changes.check_canary(present, wanted)
        salt = token_hex(8)
        if running is not None and running.target == target:
            return await self._step(
                run,
                lambda desired: changes.reshare_canary(desired, wanted, run.change("share")),
                target,
            )
        if order.dry_run:
            prepared = run.prepared(present, target)
            planned = changes.start_canary(prepared, wanted, salt, run.change())
            return run.outcome("planned", present, planned)
        before, said = await self._make_ready(run, target)
        _, after = await self._agreement.insist(
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
        run = Run("stop canary", order)
        return await self._step(run, lambda desired: changes.stop_canary(desired, run.change()))

    async def shadow(
        self, order: Order, version: int, generation: str | None, sample: float
    ) -> Outcome:
        """Let a target score a sample of the requests beside the champion; errors as ``promote``.

        Args:
            order: who asks, and why.
            version: the model version.
            generation: None: the shadow's own, where it is of this version; else the newest one
                that fits.
            sample: of requests, above 0 and at most 1.

        Returns:
            With verdicts of the processes that compare it, one for each replica.
        """
        run = Run("shadow", order)
        present = await self._agreement.present()
        running = present.shadow.target if present.shadow else None
        target = run.target = await self._asked(present, version, generation, running)
        wanted = Shadow(target, sample)
        if present.shadow == wanted:
            outcome = run.outcome("already", present, present)
        else:
            outcome = await self._step(
                run, lambda desired: changes.start_shadow(desired, wanted, run.change())
            )
        if order.dry_run:
            return replace(outcome, verdicts=())
        said = await self._agreement.until_compared(present, wanted)
        return replace(outcome, verdicts=said)

    async def stop_shadow(self, order: Order) -> Outcome:
        """End the shadow; errors as ``promote``."""
        run = Run("stop shadow", order)
        return await self._step(run, lambda desired: changes.stop_shadow(desired, run.change()))

    async def rollback(self, order: Order) -> Outcome:
        """Go back to the previous champion, which is still loaded; errors as ``promote``.

        It is refused like a promotion where a worker could not load that one.

        Two operators who see the same fault both want the version before it: where a rollback has
        left what would be gone back to, another one changes nothing, unless it names the present
        revision.
        """
        run = Run("rollback", order)
        previous = (await self._agreement.present()).previous
        if previous is not None:
            run.finding = _gone(previous, await self._said(previous))
            _check_guard(run.finding, order)

        def step(desired: Desired) -> Desired:
            if desired.rolled_back and order.revision is None:
                return desired
            return changes.rollback(desired, run.change())

        return await self._step(run, step)

    async def withdraw(self, order: Order) -> Outcome:
        """Give up what is being prepared; errors as ``promote``."""
        run = Run("withdraw", order)
        return await self._step(run, lambda desired: changes.withdraw(desired, run.change()))

    async def _asked(
        self, present: Desired, version: int, generation: str | None, running: Target | None
    ) -> Target:
        """The target; what runs already needs neither the repository nor the feature store."""
        if generation is None and running is not None and running.version == version:
            return running
        for target in present.serving:
            if (target.version, target.generation) == (version, generation):
                return target
        contract = held_contract(await self._agreement.replicas(), version)
        return await self._targets.choose(version, generation, contract)

    async def _judged(self, present: Desired, target: Target, order: Order) -> Finding:
        finding = await self._guards.judge_promotion(present, target)
        _check_guard(finding, order)
        return finding

    async def _step(self, run: Run, step: Step, asked: Target | None = None) -> Outcome:
        """A change of roles between what is loaded already.

        Args:
            run: of the order.
            step: the change.
            asked: what the verdicts are about; None: the champion.
        """
        if run.order.dry_run:
            present = await self._agreement.present()
            planned = step(run.shown(present))
            said = await self._said(asked or planned.champion)
            result: Result = "already" if planned == present else "planned"
            return run.outcome(result, present, planned, said=said)
        before, after = await self._agreement.change(lambda desired: step(run.shown(desired)))
        said = await self._agreement.until_followed(after, asked or after.champion)
        return run.outcome("already" if after == before else "done", before, after, said=said)

    async def _make_ready(self, run: Run, target: Target) -> tuple[Desired, tuple[Verdict, ...]]:
        """Make a target candidate and wait; whoever asked for the same one already is joined."""
        before, prepared = await self._agreement.change(
            lambda desired: run.prepared(desired, target)
        )
        try:
            desired, said = await self._agreement.until_ready(prepared, target, run.order.within_s)
            if desired.candidate == target:
                _check_ready(target, said)
        except NotConverged as refusal:
            await self._withdraw(run, target, refusal)
            raise NotConverged(
                f"{refusal.detail}; it was withdrawn, and {prepared.champion} serves as before",
                **refusal.members,
            ) from refusal
        return before, said

    async def _withdraw(self, run: Run, target: Target, refusal: NotConverged) -> None:
        said = tuple(Verdict(**told) for told in refusal.members["verdicts"])
        change = run.change("withdraw", said, {"refused": refusal.detail})
        await self._agreement.insist(
            lambda desired: (
                changes.withdraw(desired, change) if desired.candidate == target else desired
            )
        )

    async def _said(self, target: Target) -> tuple[Verdict, ...]:
        return verdicts(await self._agreement.replicas(), target)


def _check_guard(finding: Finding, order: Order) -> None:
    if finding.refused and not (order.force or order.dry_run):
        raise GuardRefused(
            "; ".join(finding.reasons) + "; force it with a reason if you know better",
            guard=asdict(finding),
        )


def _gone(previous: Target, said: tuple[Verdict, ...]) -> Finding:
    """Whether a rollback would split the fleet; who only loads it still follows by itself."""
    failed = [verdict for verdict in said if verdict.state == "failed"]
    if not failed:
        return Finding()
    return Finding(True, (f"{previous} is NOT READY everywhere: {complaints(failed)}",))


def _check_ready(target: Target, said: tuple[Verdict, ...]) -> None:
    if not all(verdict.ready for verdict in said):
        raise not_converged(f"{target} is not ready everywhere", said)
    if len(found := digests(said)) > 1:
        raise not_converged(
            f"workers loaded different bundles as {target}, by digest {', '.join(found)}; "
            "do all replicas read one repository?",
            said,
        )
