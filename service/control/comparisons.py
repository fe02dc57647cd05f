"""The comparisons of a replica: which of them run, and what they have found."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from model.desired import Desired, Shadow
from service.comparison.counts import ComparisonReport, summed
from service.comparison.samples import COMPARISON, SAMPLES
from service.comparison.summary import summary
from service.control.convergence import COMPARER, Verdict
from service.control.watch import Watch
from service.lifecycle.states import ReplicaState, TargetState
from service.metrics import COMPARISONS
from service.supervisor.fleet import Siblings

LOOK_S = 0.25
"""Between two looks at the desired state."""
MODULE = "service.sibling"


class Comparisons:
    """Keeps a sibling for the canary and one for the shadow, while there are such."""

    def __init__(self, siblings: Siblings, watch: Watch, folder: Path) -> None:
        """Begin without any.

        Args:
            siblings: keeps processes.
            watch: knows the desired state.
            folder: where siblings listen; nobody else may enter it.
        """
        self._siblings = siblings
        self._watch = watch
        self._folder = folder

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Start and end siblings as the desired state says."""
        for comparison in COMPARISONS:
            if self._watch.known is None or not _wanted(self._watch.known, comparison):
                self._siblings.dismiss(comparison)
            else:
                environment = {COMPARISON: comparison, SAMPLES: str(self._folder)}
                self._siblings.want(comparison, MODULE, environment)

    def findings(self) -> dict[str, Any]:
        """What siblings said last, for the replica's report."""
        said = {comparison: self._siblings.findings(comparison) for comparison in COMPARISONS}
        return {name: json.loads(found) for name, found in said.items() if found is not None}


def compared(replicas: Iterable[ReplicaState]) -> dict[str, list[dict[str, Any]]]:
    """What all replicas have found, by comparison; one entry for each pair of targets.

    Args:
        replicas: their reports.
    """
    found: dict[str, list[ComparisonReport]] = {}
    for replica in replicas:
        for comparison in COMPARISONS:
            if comparison in replica.findings:
                report = msgspec.convert(replica.findings[comparison], ComparisonReport)
                found.setdefault(comparison, []).append(report)
    return {name: [summary(one) for one in summed(same)] for name, same in found.items()}


def shadow_verdicts(replicas: Iterable[ReplicaState], shadow: Shadow) -> tuple[Verdict, ...]:
    """How a shadow stands on each replica, where a process of its own holds it.

    Args:
        replicas: their reports.
        shadow: what the desired state names.
    """
    return tuple(_shadow_verdict(replica, shadow) for replica in replicas)


def _shadow_verdict(replica: ReplicaState, shadow: Shadow) -> Verdict:
    found = replica.findings.get("shadow")
    report = None if found is None else msgspec.convert(found, ComparisonReport)
    if report is None or report.challenger != str(shadow.target):
        return _verdict(replica, "absent", "its comparison has not begun")
    states = {target.name: target for target in report.targets}
    challenger, champion = states.get(report.challenger), states.get(report.champion)
    if challenger is None:
        return _verdict(replica, "absent", "its comparison has not begun to load it")
    if champion is not None and champion.state == "failed":
        return _verdict(replica, "failed", f"champion {report.champion} there: {champion.reason}")
    return _verdict(replica, challenger.state, challenger.reason, challenger)


def _verdict(
    replica: ReplicaState, state: str, reason: str | None, target: TargetState | None = None
) -> Verdict:
    return Verdict(
        replica=replica.replica,
        worker=COMPARER,
        revision=replica.revision,
        state=state,
        reason=reason,
        seconds=None if target is None else target.seconds,
        bundle_digest=None if target is None else target.bundle_digest,
    )


def _wanted(desired: Desired, comparison: str) -> bool:
    return (desired.canary if comparison == "canary" else desired.shadow) is not None
