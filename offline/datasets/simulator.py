"""The simulator: a shop in which it is known who the users are and why they buy."""

import fcntl
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from offline.datasets.simulated.blocks import make_block
from offline.datasets.simulated.collection import Collection
from offline.datasets.simulated.constants import CONSTANTS
from offline.datasets.simulated.spill import MOST_USERS
from offline.datasets.simulated.tables import TRUTH, write_tables
from offline.datasets.simulated.world import World, make_world, n_items
from offline.events import SCHEMA_FILE, TABLES, CanonicalTables
from offline.progress import track
from offline.rules import ConfigError

FEWEST_USERS: Final = 100
SCRATCH: Final = "scratch"
UNFINISHED: Final = "unfinished"
"""A file in a folder whose data set is being made, or was when its process was killed."""
WRITTEN: Final = {UNFINISHED, SCRATCH, TRUTH, SCHEMA_FILE, *(f"{name}.parquet" for name in TABLES)}


def build(out: Path, world: int, users: int, null: bool = False) -> CanonicalTables:
    """Simulate a data set: canonical tables, and beside them ``truth/``, which no stage reads.

    Rows keep the rules of canonical tables by construction, so that they are not read again to
    be checked.

    Args:
        out: an empty folder, or one to be made.
        world: the world's number, from 1.
        users: how many users; items come with them, a third as many within bounds.
        null: archetypes have no effect on behaviour (SIM-null).

    Returns:
        The tables; equal arguments give equal bytes.

    Raises:
        ConfigError: when an argument is out of bounds, or the folder is not empty or in use. What a
            killed process left there does not count: it is removed.

    Source: docs/simulator.md.
    """
    if world < 1:
        raise ConfigError(f"world is {world}; expected a number from 1")
    if not FEWEST_USERS <= users <= MOST_USERS:
        raise ConfigError(f"users is {users}; expected {FEWEST_USERS} to {MOST_USERS}")
    blocks = range(-(-users // CONSTANTS.block_users))
    return build_blocks(out, make_world(world, n_items(users), null), users, blocks)


def build_blocks(out: Path, world: World, users: int, blocks: Iterable[int]) -> CanonicalTables:
    """Like ``build``, of a world and with its blocks of users made in any order.

    Args:
        out: an empty folder, or one to be made.
        world: the world.
        users: how many users.
        blocks: the numbers of all blocks that hold them.

    Returns:
        The tables; their bytes do not show the order.

    Raises:
        ConfigError: when the folder is not empty or in use.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        collection = Collection(out / SCRATCH, world, users)
        for block in track(blocks, "simulated blocks"):
            collection.add(make_block(world, block, users))
        write_tables(out, world, collection)
        shutil.rmtree(out / SCRATCH)
    return CanonicalTables.open(out)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """An empty folder for this process alone; what a killed one left there goes.

    The lock goes with the process that holds it; its file tells an unfinished data set from others.
    """
    lock = out / UNFINISHED
    if any(out.iterdir()) and not (lock.is_file() and all(map(_is_ours, out.iterdir()))):
        raise ConfigError(f"{out} is not empty: name an empty folder or a new one")
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{out}: another process simulates there: wait for it, or name another folder"
            ) from error
        _empty(out)
        try:
            yield
        except BaseException:
            _empty(out)
            raise
        finally:
            lock.unlink()


def _is_ours(path: Path) -> bool:
    return path.name.removesuffix(".partial") in WRITTEN


def _empty(folder: Path) -> None:
    """Remove all but the mark of what is unfinished."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != UNFINISHED:
            path.unlink()
