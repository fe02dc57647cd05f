"""The plan: which cells make the evidence, in the order in which they are wanted."""

from collections.abc import Iterable, Sequence
from itertools import product

from offline.evidence.cells import Cell, Source, panel, world
from offline.evidence.layout import LAYOUT, Layout
from offline.methods.registry import METHODS

SEEDS = 5
SWEEP_SEEDS = 2
DESIGN_WORLDS = (1, 2, 3)
CONFIRMATION_WORLDS = (101, 102, 103, 104, 105)
QUICK_USERS = 5_000
SIMULATED_ONLY = tuple(name for name, one in METHODS.items() if one.grouping.simulated_only)


def core(layout: Layout = LAYOUT) -> tuple[str, ...]:
    """Methods of Table 1's family: the subject, its controls and the baselines."""
    return (layout.subject, *layout.compared)


def ablations(layout: Layout = LAYOUT) -> tuple[str, ...]:
    """Methods of Table 2, and the bounds of Table 1."""
    return (*layout.bounds, *(name for name, _ in layout.ablations))


def sweeps(layout: Layout = LAYOUT) -> tuple[str, ...]:
    """Methods of Figure 6."""
    return tuple(name for _, name in (*layout.codes_sweep, *layout.weight_sweep))


def confirmation() -> list[Cell]:
    """Everything that the claims rest on: run once, when nothing is to be chosen any more."""
    worlds = [world(number, "confirmation") for number in CONFIRMATION_WORLDS]
    null = [world(number, "confirmation", null=True) for number in CONFIRMATION_WORLDS]
    replication = [panel("replication")]
    contrast = (LAYOUT.subject, LAYOUT.permuted, "din_activity")
    return [
        *cells([*worlds, *replication], core(), SEEDS),
        *cells(null, contrast, SEEDS),
        *cells(worlds, ablations(), SEEDS),
        *cells(worlds, sweeps(), SWEEP_SEEDS),
    ]


def design(seeds: int = SEEDS) -> list[Cell]:
    """The same on data that is for choosing: worlds 1 to 3 and the household design window."""
    worlds = [world(number, "design") for number in DESIGN_WORLDS]
    null = [world(number, "design", null=True) for number in DESIGN_WORLDS]
    contrast = (LAYOUT.subject, LAYOUT.permuted, "din_activity")
    return [
        *cells([*worlds, panel("design")], core(), seeds),
        *cells(null, contrast, seeds),
        *cells(worlds, ablations(), seeds),
        *cells(worlds, sweeps(), min(seeds, SWEEP_SEEDS)),
    ]


def quick() -> list[Cell]:
    """Every method once on a small world: whether everything runs, not what it shows."""
    small = [world(1, "design", users=QUICK_USERS)]
    return cells(small, tuple(dict.fromkeys((*core(), *ablations(), *sweeps()))), 1)


def cells(sources: Sequence[Source], methods: Iterable[str], seeds: int) -> list[Cell]:
    """All cells of sources and methods, seed by seed, so that each finished seed compares all.

    A method that needs the truth is left out where nobody knows it, and one that no seed decides
    is measured once.
    """
    wanted = product(range(seeds), sources, dict.fromkeys(methods))
    return [
        Cell(source, method, seed) for seed, source, method in wanted if _fits(source, method, seed)
    ]


def _fits(source: Source, method: str, seed: int) -> bool:
    needs_truth = method in SIMULATED_ONLY and source.world is None
    return not needs_truth and (seed == 0 or method not in LAYOUT.seedless)
