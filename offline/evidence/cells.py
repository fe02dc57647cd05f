"""Cells: what is measured, and where its data comes from; plain values that cross processes."""

from dataclasses import dataclass
from pathlib import Path

from offline.artefacts import Store
from offline.pipeline import Dataset, Pipeline
from offline.presets import Preset
from offline.sources import complete_journey, own_files, simulated

WORLD_USERS = 30_000
"""Users of a simulated world in the evidence (docs/simulator.md)."""


@dataclass(frozen=True, order=True)
class Source:
    """A data set by its words."""

    name: str
    """In results: worlds of one simulator differ in their number alone."""
    role: str
    """"design" or "confirmation"."""
    world: int | None = None
    """Of a simulated world; None for a real data set."""
    users: int = WORLD_USERS
    """Of a simulated world."""
    null: bool = False
    """Whether archetypes have no effect (SIM-null)."""
    window: str | None = None
    """Of the household panel."""
    mapping: Path | None = None
    """TOML mapping of somebody's own log."""
    tables: Path | None = None
    """Folder of canonical tables that somebody made."""

    def open(self) -> Dataset:
        """The data set.

        Raises:
            ConfigError: when the mapping is wrong or a file cannot be read.
        """
        if self.world is not None:
            return simulated(self.world, self.users, self.null)
        return (
            own_files(self.mapping) if self.mapping else complete_journey(self.window or "design")
        )


def world(number: int, role: str, users: int = WORLD_USERS, null: bool = False) -> Source:
    """A simulated world."""
    name = f"sim_null_{number}" if null else f"sim_{number}"
    return Source(name, role, world=number, users=users, null=null)


def panel(window: str) -> Source:
    """A window of the household panel; the replication window confirms."""
    role = "confirmation" if window == "replication" else "design"
    return Source(f"complete_journey_{window}", role, window=window)


@dataclass(frozen=True, order=True)
class Cell:
    """One method with one seed on one data set."""

    source: Source
    method: str
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.source.name}, {self.method}, seed {self.seed}"


@dataclass(frozen=True)
class Bench:
    """Where cells are measured, and how."""

    root: Path
    """Where artefacts lie."""
    preset: Preset

    def pipeline(self, source: Source) -> Pipeline:
        """The stages over a data set; silent, since the runner speaks."""
        store = Store(self.root / "artefacts", say=lambda _: None)
        return Pipeline(store, source.open(), self.preset)
