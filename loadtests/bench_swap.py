"""Swaps: models and generations exchanged under load, rollbacks, a canary's sides, a shadow."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from loadtests.swaps import parts
from loadtests.swaps.limits import ANSWERS, complaints
from loadtests.swaps.parts import FULL, QUICK, Plan
from loadtests.swaps.planted import FAULTS
from loadtests.swaps.replicas import REPLICAS, ROOT, WORKERS

Part = Callable[[], dict[str, Any]]


class Finished:
    """Parts that are done, kept beside the results until all of them are."""

    def __init__(self, path: Path, plan: Plan, commit: str | None) -> None:
        """Take up what an interrupted run of the same plan and commit left."""
        self._path = path
        self._of = {"plan": asdict(plan), "commit": commit}
        self.figures: dict[str, dict[str, Any]] = {}
        self.loads: dict[str, float] = {}
        """Of the machine when a part began: the mean number of runnable tasks of a minute."""
        if path.exists():
            found = json.loads(path.read_text())
            if found["of"] == self._of:
                self.figures, self.loads = found["figures"], found["loads"]

    def part(self, name: str, measure: Part) -> dict[str, Any]:
        """The figures of a part, measured unless they are there already."""
        if name in self.figures:
            print(f"{name}: measured before", flush=True)
        else:
            print(f"{name}: load {os.getloadavg()[0]:.1f}", flush=True)
            self.loads[name] = round(os.getloadavg()[0], 1)
            self.figures[name] = measure()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            found = {"of": self._of, "figures": self.figures, "loads": self.loads}
            self._path.write_text(json.dumps(found))
        return self.figures[name]

    def forget(self) -> None:
        """All parts are done."""
        self._path.unlink(missing_ok=True)


def measure(plan: Plan, finished: Finished) -> dict[str, Any]:
    """Every part in turn.

    Args:
        plan: how much of everything.
        finished: what need not be measured again.

    Returns:
        The figures of swaps, rollbacks and canary by name, those of the shadow and of planted
        faults below their own.
    """
    # First what a busy machine cannot spoil.
    canary = finished.part("canary", partial(parts.canary, plan))
    faults = {name: finished.part(name, partial(parts.planted, plan, name)) for name in FAULTS}
    swaps = finished.part("swaps", partial(parts.swaps, plan))
    demo = finished.part("demo", partial(parts.demo_swaps, plan))
    rollbacks = finished.part("rollbacks", partial(parts.rollbacks, plan))
    shadow = finished.part("shadow", partial(parts.shadow, plan))
    figures = {**swaps, **rollbacks, **canary, "shadow_failed": shadow["shadow_failed"]}
    answers = 0 if plan == QUICK else ANSWERS
    return {
        **figures,
        "demo": {**demo, "falls_short": complaints(demo)},
        "shadow": shadow,
        "planted": {
            name: {**found, "noticed": complaints(found)} for name, found in faults.items()
        },
        "falls_short": complaints(figures, answers),
        "machine": {"cores": os.cpu_count(), "system": platform.platform()},
        "load_before": finished.loads,
        "setup": {"replicas": REPLICAS, "workers": WORKERS, "plan": asdict(plan)},
    }


def present_commit() -> str | None:
    """What is measured: the commit that is checked out, ``-dirty`` where files differ from it.

    Returns:
        None where this is no clone.
    """
    line = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        told = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def unnoticed(planted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Planted faults that their own figure did not give away, whatever others did.

    Args:
        planted: the figures of each, with ``noticed``.

    Returns:
        A line about each.
    """
    missed = [
        name for name, found in planted.items() if FAULTS[name].shown_by not in found["noticed"]
    ]
    return [
        f"{name}: this planted fault did not show in {FAULTS[name].shown_by}" for name in missed
    ]


def main() -> int:
    """Measure, write the figures, print them as the last line.

    Returns:
        0, or 1 when a figure is not within its limit or a planted fault went unnoticed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/swap.json"))
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    options = parser.parse_args()
    out: Path = options.out
    plan = QUICK if options.quick else FULL
    commit = present_commit()
    finished = Finished(out.with_suffix(".unfinished.json"), plan, commit)
    figures = {**measure(plan, finished), "commit": commit}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n")
    finished.forget()
    print(json.dumps(figures))
    told = unnoticed(figures["planted"])
    told += figures["falls_short"].values()
    told += (f"at the demo's sizes {words}" for words in figures["demo"]["falls_short"].values())
    for complaint in told:
        print(complaint, file=sys.stderr)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
