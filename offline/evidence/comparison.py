"""The comparison: a TOML file that says on which data, by which methods and how often."""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from offline.evidence.cells import WORLD_USERS, Cell, Source
from offline.evidence.plan import ablations, cells, core, sweeps
from offline.methods.registry import METHODS
from offline.presets import PRESETS
from offline.rules import ConfigError

Role = Literal["design", "confirmation"]
TABLES = {"core": core, "ablations": ablations, "sweeps": sweeps}


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[data]]``: one data set; exactly one of mapping, tables, world and window."""

    name: str
    mapping: str | None = None
    """The mapping of your own files (docs/data.md)."""
    tables: str | None = None
    """A folder of canonical tables; soft labels stand in its ``truth/``, where it has one."""
    world: int | None = None
    """Number of a simulated world."""
    users: int = WORLD_USERS
    """Of a simulated world."""
    null: bool = False
    """Whether its archetypes have no effect."""
    window: Literal["design", "replication"] | None = None
    """Of the household panel."""


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole file."""

    data: tuple[Data, ...]
    methods: tuple[str, ...] = ("core",)
    """Names of methods, or of tables of them: core, ablations, sweeps."""
    seeds: int = 5
    preset: str = "paper"
    role: Role = "confirmation"
    """Whether anything is chosen by what comes out."""


def load_comparison(path: Path) -> Comparison:
    """Read a comparison.

    Args:
        path: the file; paths in it are relative to its folder.

    Returns:
        What it says.

    Raises:
        ConfigError: when it is absent, no TOML, or a key or value is not as expected.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        described = msgspec.convert(values, Comparison)
    except OSError as error:
        raise ConfigError(f"cannot read the comparison {path}: {error.strerror}") from error
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    _check(path, described)
    return described


def compared_cells(described: Comparison, folder: Path) -> list[Cell]:
    """The cells of a comparison.

    Args:
        described: the comparison.
        folder: of its file.

    Returns:
        Cells seed by seed. A control that a named method needs is the caller's to name: ``core``
        holds all of them.
    """
    sources = [_source(data, described.role, folder) for data in described.data]
    named = (TABLES[name]() if name in TABLES else (name,) for name in described.methods)
    return cells(sources, [method for part in named for method in part], described.seeds)


def _source(data: Data, role: Role, folder: Path) -> Source:
    return Source(
        data.name,
        role,
        world=data.world,
        users=data.users,
        null=data.null,
        window=data.window,
        mapping=folder / data.mapping if data.mapping else None,
        tables=folder / data.tables if data.tables else None,
    )


def _check(path: Path, described: Comparison) -> None:
    known = (*TABLES, *METHODS)
    for name in described.methods:
        if name not in known:
            raise ConfigError(f"{path}: no method {name!r}; known: {', '.join(known)}")
    if described.preset not in PRESETS:
        presets = ", ".join(sorted(PRESETS))
        raise ConfigError(f"{path}: no preset {described.preset!r}; known: {presets}")
    if described.seeds < 1 or not described.data:
        raise ConfigError(
            f"{path}: {described.seeds} seeds on {len(described.data)} data sets; expected one of "
            "each at least"
        )
    names = [data.name for data in described.data]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: data sets {names}; expected names that differ")
    for data in described.data:
        given = [name for name in ("mapping", "tables", "world", "window") if getattr(data, name)]
        if len(given) != 1:
            raise ConfigError(
                f"{path}: data {data.name!r} has {given or 'nothing'}; expected exactly one of "
                "mapping, tables, world, window"
            )
