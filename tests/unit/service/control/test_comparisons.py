"""Comparisons of a replica: which siblings run, and what all replicas found together."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from model.desired import Canary, Desired, Shadow, Target
from service.comparison.counts import ComparisonReport, ComparisonTally
from service.control.comparisons import Comparisons, compared
from service.control.file_state import FileState
from service.control.local_copy import LocalCopy
from service.control.watch import Beginning, Identity, Watch
from service.errors import LoadRefused
from tests.control import desired_state, replica_state
from tests.fixtures.fleets import PlannedFleet

OTHER = Target(2, "g1")


class PlannedSiblings:
    """Siblings without processes."""

    def __init__(self) -> None:
        """Keep none."""
        self.wanted: dict[str, Mapping[str, str]] = {}

    def want(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        """As ``Siblings.want``."""
        assert module == "service.sibling"
        self.wanted[name] = environment

    def dismiss(self, name: str) -> None:
        """As ``Siblings.dismiss``."""
        self.wanted.pop(name, None)

    def findings(self, name: str) -> bytes | None:
        """As ``Siblings.findings``."""
        return msgspec.json.encode(_report("2/g1")) if name in self.wanted else None


async def _never() -> Target:
    raise LoadRefused("not asked for")


def _report(challenger: str) -> ComparisonReport:
    tally = ComparisonTally()
    tally.outcomes["compared"] = 3
    return ComparisonReport(
        champion="1/g1", challenger=challenger, since_s=1.0, outcomes=tally.outcomes
    )


def _watch(folder: Path, known: Desired | None) -> Watch:
    watch = Watch(
        FileState(folder / "state"),
        PlannedFleet(),
        LocalCopy(folder, "state"),
        Beginning(_never, None),
        Identity("r1", "host"),
    )
    watch.known = known
    return watch


def test_siblings_run_while_their_role_is_there(tmp_path: Path) -> None:
    """A comparison costs memory for as long as somebody wants it, and no longer."""
    siblings, watch = PlannedSiblings(), _watch(tmp_path, None)
    comparisons = Comparisons(siblings, watch, tmp_path)
    both = replace(desired_state(), canary=Canary(OTHER, 0.1), shadow=Shadow(Target(3, "g"), 0.5))
    steps = [
        (None, set()),
        (desired_state(), set()),
        (both, {"canary", "shadow"}),
        (replace(both, canary=None), {"shadow"}),
        (desired_state(), set()),
    ]
    for known, expected in steps:
        watch.known = known
        comparisons.look()
        assert set(siblings.wanted) == expected
        assert set(comparisons.findings()) == expected
    watch.known = both
    comparisons.look()
    assert siblings.wanted["canary"]["CHOIRREC_SIBLING"] == "canary"
    assert json.dumps(comparisons.findings())


def test_replicas_are_told_together() -> None:
    """Whichever replica is asked, the figures are those of all."""
    found = msgspec.to_builtins(_report("2/g1"))
    replicas = [
        msgspec.structs.replace(replica_state(name), findings={"shadow": found, "guard": {}})
        for name in ("r1", "r2")
    ]
    told = compared([*replicas, replica_state("r3")])
    assert list(told) == ["shadow"]
    (pair,) = told["shadow"]
    assert pair["samples"]["compared"] == 6
