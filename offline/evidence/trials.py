"""Trials: every look at validation rows by which something is chosen, in an append-only ledger."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from offline.evidence.cells import Bench, Source
from offline.presets import Preset
from offline.rules import ConfigError

LEDGER = Path("docs/trials.csv")
COLUMNS = ("date", "data", "method", "preset", "changed", "seeds", "validation", "spread", "why")


@dataclass(frozen=True)
class Trial:
    """One setting of one method on design data."""

    source: Source
    method: str
    changed: Mapping[str, Any]
    """Values of the preset by dotted name."""
    why: str
    """What was to be found out."""


@dataclass(frozen=True)
class Score:
    """Validation GAUC of low-activity users."""

    mean: float
    """Over seeds."""
    spread: float
    """Standard deviation between seeds."""


def try_out(bench: Bench, trial: Trial, seeds: Sequence[int], ledger: Path = LEDGER) -> Score:
    """Train a method's models and read their validation scores; no test row is looked at.

    Args:
        bench: where, and the preset that is changed.
        trial: what is tried.
        seeds: single seeds select noise: three at least.
        ledger: gets one line more.

    Returns:
        The score.

    Raises:
        ConfigError: when a name is no value of the preset, or the data is for confirmation.
    """
    if trial.source.role != "design":
        raise ConfigError(
            f"{trial.source.name} is for confirmation: choose nothing on it, name design data"
        )
    preset = changed(bench.preset, trial.changed)
    pipeline = Bench(bench.root, preset).pipeline(trial.source)
    scores = [_validation(pipeline.training(trial.method, seed)) for seed in seeds]
    score = Score(float(np.mean(scores)), float(np.std(scores)))
    _append(ledger, trial, preset.name, len(seeds), score)
    return score


def changed(preset: Preset, values: Mapping[str, Any]) -> Preset:
    """A preset with other values.

    Args:
        preset: the preset.
        values: by dotted name, such as ``train.rate_start``.

    Raises:
        ConfigError: when a name is no value of the preset, or a value is of another type.
    """
    for name, value in values.items():
        preset = _with(preset, name.split("."), value, name)
    return preset


def _with(part: Any, path: Sequence[str], value: Any, name: str) -> Any:
    known = {field.name for field in fields(part)}
    if path[0] not in known:
        raise ConfigError(f"no value {name!r}; known here: {', '.join(sorted(known))}")
    former = getattr(part, path[0])
    if len(path) > 1 and is_dataclass(former):
        return replace(part, **{path[0]: _with(former, path[1:], value, name)})
    fresh = tuple(value) if isinstance(former, tuple) else value
    if former is not None and not isinstance(fresh, type(former)):
        raise ConfigError(f"{name} is {value!r}; expected a {type(former).__name__}")
    return replace(part, **{path[0]: fresh})


def _validation(record: Mapping[str, Any]) -> float:
    return float(record["epochs"][record["best_epoch"]]["validation"])


def _append(ledger: Path, trial: Trial, preset: str, seeds: int, score: Score) -> None:
    fresh = not ledger.exists()
    row = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "data": trial.source.name,
        "method": trial.method,
        "preset": preset,
        "changed": json.dumps(trial.changed, sort_keys=True),
        "seeds": seeds,
        "validation": f"{score.mean:.5f}",
        "spread": f"{score.spread:.5f}",
        "why": trial.why,
    }
    with ledger.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)
