"""The commands of the evidence: ``paper``, ``trial`` and ``evaluate --config``."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from offline.evidence import plan
from offline.evidence.cells import WORLD_USERS, Bench, panel, world
from offline.evidence.comparison import compared_cells, load_comparison
from offline.evidence.evidence import Documents, found, gather, tell
from offline.evidence.runner import CellsFailed, Outcome
from offline.evidence.trials import LEDGER, Trial, try_out
from offline.methods.registry import METHODS
from offline.presets import PRESETS

PLANS = {"confirmation": plan.confirmation, "design": plan.design}
PRESET = "paper"
WORKERS = os.cpu_count() or 1
TRIAL_SEEDS = 3


def add_paper(parser: argparse.ArgumentParser) -> None:
    """Every table of the evidence, by one command."""
    parser.add_argument("--root", type=Path, default=Path("var"), help="where everything lies")
    parser.add_argument("--plan", choices=sorted(PLANS), default="confirmation", help="which cells")
    parser.add_argument("--quick", action="store_true", help="every method once, small; no claims")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where tables lie")
    add_workers(parser)
    parser.set_defaults(run=_paper)


def add_trial(parser: argparse.ArgumentParser) -> None:
    """A setting tried on validation rows of design data, written into the ledger."""
    parser.add_argument("--root", type=Path, default=Path("var"), help="where everything lies")
    parser.add_argument("--world", type=int, help="a simulated one; default: the panel's design")
    parser.add_argument("--users", type=int, default=WORLD_USERS, help="of the world")
    parser.add_argument("--method", choices=sorted(METHODS), required=True)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="such as train.rate_start=0.02"
    )
    parser.add_argument("--seeds", type=int, default=TRIAL_SEEDS, help="one seed selects noise")
    parser.add_argument("--why", required=True, help="what is to be found out")
    parser.set_defaults(run=_trial)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """How many processes measure cells."""
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes, a core each")


def run_comparison(config: Path, root: Path, results: Path, workers: int) -> None:
    """Run the comparison of a file.

    Args:
        config: the TOML file (docs/evidence.md).
        root: where artefacts lie.
        results: folder of the table, the figures and the report.
        workers: processes.

    Raises:
        ConfigError: when the file, or a data set it names, is not as expected.
        CellsFailed: when cells could not be measured; the others are in the table.
    """
    described = load_comparison(config)
    wanted = compared_cells(described, config.parent)
    bench = Bench(root, PRESETS[described.preset])
    _refuse_failures(gather(bench, wanted, results, workers))


def _paper(chosen: argparse.Namespace) -> None:
    if chosen.quick:
        bench = Bench(chosen.root, PRESETS[PRESET].shortened("quick"))
        results = chosen.results / "quick"
        outcome = gather(bench, plan.quick(), results, chosen.workers, quick=True)
    else:
        bench, wanted = Bench(chosen.root, PRESETS[PRESET]), PLANS[chosen.plan]()
        outcome = gather(bench, wanted, chosen.results, chosen.workers)
        tell(found(bench, wanted, chosen.results), Documents())
    _refuse_failures(outcome)


def _trial(chosen: argparse.Namespace) -> None:
    source = world(chosen.world, "design", chosen.users) if chosen.world else panel("design")
    values = dict(_assigned(text) for text in chosen.set)
    trial = Trial(source, chosen.method, values, chosen.why)
    score = try_out(Bench(chosen.root, PRESETS[PRESET]), trial, range(chosen.seeds))
    sys.stdout.write(
        f"validation GAUC of low-activity users {score.mean:.4f} (+- {score.spread:.4f} over "
        f"{chosen.seeds} seeds); one line more in {LEDGER}\n"
    )


def _assigned(text: str) -> tuple[str, Any]:
    """A name and its value, which is read as JSON where it is JSON."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _refuse_failures(outcome: Outcome) -> None:
    if outcome.failed:
        told = "; ".join(f"{cell.name}: {error}" for cell, error in outcome.failed)
        raise CellsFailed(f"{len(outcome.failed)} cells failed: {told}")
