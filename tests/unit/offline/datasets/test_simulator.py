"""The simulator: canonical tables that repeat to the byte, and a truth that no stage sees."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from offline.__main__ import main
from offline.datasets.simulated.bands import open_world
from offline.datasets.simulated.blocks import make_block
from offline.datasets.simulated.observed import observed
from offline.datasets.simulated.world import World, make_world
from offline.datasets.simulator import build, build_blocks
from offline.events import TABLES, CanonicalTables, validate
from offline.rules import ConfigError

USERS = 4500
BLOCKS = (0, 1, 2)
ITEMS = 3200


@pytest.fixture(scope="module")
def world() -> World:
    """A world with few items."""
    return make_world(1, ITEMS, False)


@pytest.fixture(scope="module")
def tables(world: World, tmp_path_factory: pytest.TempPathFactory) -> CanonicalTables:
    """Its tables for users of two and a half blocks."""
    return build_blocks(tmp_path_factory.mktemp("simulated"), world, USERS, BLOCKS)


def content(folder: Path) -> dict[str, bytes]:
    """Bytes of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def truth(tables: CanonicalTables, name: str) -> pa.Table:
    """A table of the truth."""
    return pq.read_table(tables.folder / "truth" / f"{name}.parquet")


def test_every_rule_of_canonical_tables_holds(tables: CanonicalTables) -> None:
    """Rows that are never checked while they are written are right nevertheless."""
    assert validate(tables) == []
    assert len(tables.users()) == USERS
    assert len(tables.items()) == ITEMS


@pytest.mark.parametrize("blocks", [(2, 0, 1), (1, 2, 0)])
def test_blocks_may_be_made_in_any_order(
    blocks: tuple[int, ...], world: World, tables: CanonicalTables, tmp_path: Path
) -> None:
    """Whatever block is made first, and however often, every file has the same bytes."""
    again = build_blocks(tmp_path, world, USERS, blocks)
    assert content(again.folder) == content(tables.folder)


def test_a_larger_data_set_begins_with_the_smaller_one(
    world: World, tables: CanonicalTables, tmp_path: Path
) -> None:
    """Users do not change when others join: blocks can be cut anywhere."""
    fewer = build_blocks(tmp_path, world, 2500, BLOCKS[:2])
    last = fewer.users()["user_id"][-1]
    for name in ("users", "clicks", "purchases", "searches"):
        larger, smaller = (pq.read_table(t.path(name)) for t in (tables, fewer))
        assert larger.filter(pc.less_equal(larger["user_id"], last)).equals(smaller), name


def test_a_block_does_not_depend_on_others(world: World) -> None:
    """The same block made twice, after different ones, is the same."""
    first, _, again = (make_block(world, block, 10**6) for block in (7, 8, 7))
    np.testing.assert_array_equal(first.clicks.logit, again.clicks.logit)
    np.testing.assert_array_equal(first.purchases.item, again.purchases.item)
    np.testing.assert_array_equal(first.queries.leaf, again.queries.leaf)


def test_the_truth_stays_out_of_the_tables(tables: CanonicalTables) -> None:
    """Canonical tables hold the columns that their schema names and no others; they open alone."""
    names = {name: pq.read_schema(tables.path(name)).names for name in TABLES}
    assert names["clicks"] == ["user_id", "item_id", "time", "label", "request_id"]
    assert names["users"] == ["user_id", *tables.schema.discrete]
    assert {path.name for path in (tables.folder / "truth").iterdir()} == {
        "clicks.parquet",
        "panel.parquet",
        "segments.parquet",
        "users.parquet",
        "world.json",
    }


def test_every_click_has_its_true_probability(tables: CanonicalTables) -> None:
    """The truth stands row by row beside the clicks, which were drawn from it."""
    clicks, true = tables.clicks(), truth(tables, "clicks")
    assert len(clicks) == len(true)
    start = pa.scalar(tables.schema.split.train_start, pa.timestamp("ms"))
    counted = pc.less(clicks["time"], start)
    assert true["probability"].is_null().to_pylist() == counted.to_pylist()
    assert not any(clicks.filter(counted)["label"].to_pylist())
    drawn = pc.invert(counted)
    probability = true.filter(drawn)["probability"].to_numpy()
    label = clicks.filter(drawn)["label"].to_numpy()
    spread = np.sqrt((probability * (1 - probability)).sum())
    assert abs(label.sum() - probability.sum()) < 4 * spread


def test_a_conversion_is_a_purchase_of_the_same_day(tables: CanonicalTables) -> None:
    """A positive click is followed by its purchase within twenty minutes and before midnight."""
    clicks = tables.clicks().to_pandas()
    bought = clicks[clicks["label"] == 1]
    both = bought.merge(
        tables.purchases().to_pandas(), on=["user_id", "item_id"], suffixes=("", "_of_purchase")
    )
    delay_s = (both["time_of_purchase"] - both["time"]).dt.total_seconds()
    both = both[delay_s.between(60, 1199)]
    assert set(both["request_id"]) == set(bought["request_id"])
    assert (both["time_of_purchase"].dt.date == both["time"].dt.date).all()


def test_the_panel_is_further_clicks_of_the_test_day(tables: CanonicalTables) -> None:
    """Sixteen clicks of each panel user, on the last day, in no canonical table."""
    panel = truth(tables, "panel").to_pandas()
    split = tables.schema.split
    assert panel["time"].between(split.test_start, split.test_end, inclusive="left").all()
    assert (panel["user_id"].value_counts() == 16).all()
    assert panel["user_id"].nunique() == USERS
    assert not set(panel["request_id"]) & set(tables.clicks()["request_id"].to_pylist())


def test_what_is_read_back_is_what_was_drawn(world: World, tables: CanonicalTables) -> None:
    """Attributes, purchases and queries come back from the tables as the world made them."""
    users = tables.users()["user_id"].combine_chunks()[:2048]
    seen, block = observed(tables, users), make_block(world, 0, USERS)
    np.testing.assert_array_equal(seen.attributes, block.users.attributes)
    for again, first in ((seen.purchases, block.purchases),):
        assert sorted(zip(again.user, again.item, strict=True)) == sorted(
            zip(first.user, first.item, strict=True)
        )
    assert len(seen.queries.leaf) == len(block.queries.leaf)
    np.testing.assert_array_equal(
        np.bincount(seen.queries.leaf, minlength=320),
        np.bincount(block.queries.leaf, minlength=320),
    )


def test_tables_know_their_world(world: World, tables: CanonicalTables) -> None:
    """The world can be made again from the folder alone; the constants are quoted with figures."""
    assert open_world(tables) is world
    assert world.constants.digest()[:16] in tables.schema.provenance


def test_without_effect_archetypes_differ_in_attributes_alone(tmp_path: Path) -> None:
    """SIM-null: nobody's taste follows from the archetype, attributes still do."""
    null = make_world(1, ITEMS, True)
    for values in (null.archetypes.category, null.archetypes.style, null.archetypes.brand):
        assert not values.any()
    assert np.ptp(null.archetypes.price) == 0
    block = make_block(null, 0, 2048)
    clicks, users = block.clicks, block.users
    assert (np.ptp(null.archetypes.modes, axis=0) > 0).all()
    leaf = null.items.leaf[clicks.item]
    of_half = users.archetype[clicks.user] < 64
    share = [np.bincount(leaf[half], minlength=320) / half.sum() for half in (of_half, ~of_half)]
    assert np.abs(share[0] - share[1]).sum() < 0.2
    tables = build(tmp_path / "null", 1, 300, null=True)
    assert "SIM-null" in tables.schema.provenance
    assert tables.schema.name == "simulated_null_1"


@pytest.mark.parametrize(
    ("world", "users", "reason"),
    [(0, 1000, "world is 0"), (1, 99, "users is 99"), (1, 2**24 + 1, "expected 100 to 16777216")],
)
def test_arguments_out_of_bounds_are_refused(
    world: int, users: int, reason: str, tmp_path: Path
) -> None:
    """A world or a number of users that cannot be made is named before anything is written."""
    with pytest.raises(ConfigError, match=reason):
        build(tmp_path / "out", world, users)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    """Files that lie in the folder are neither overwritten nor removed."""
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ConfigError, match="is not empty"):
        build(tmp_path, 1, 300)
    assert content(tmp_path) == {"mine": b"keep"}


def test_what_fails_half_way_leaves_nothing(world: World, tmp_path: Path) -> None:
    """When a block cannot be made the folder is empty again."""

    def blocks() -> Iterator[int]:
        yield 0
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        build_blocks(tmp_path, world, USERS, blocks())
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from offline.datasets.simulated.world import make_world
from offline.datasets.simulator import build_blocks

def blocks():
    yield 0
    (Path(sys.argv[1]) / "users.parquet.partial").touch()
    os.kill(os.getpid(), signal.SIGKILL)

build_blocks(Path(sys.argv[1]), make_world(1, 3200, False), 4500, blocks())
"""


def test_what_is_killed_half_way_is_made_again(
    world: World, tables: CanonicalTables, tmp_path: Path
) -> None:
    """After a kill the same call makes the data set, to equal bytes, and leaves nothing besides."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "scratch").is_dir()
    build_blocks(tmp_path, world, USERS, BLOCKS)
    assert content(tmp_path) == content(tables.folder)


def test_what_others_put_beside_a_killed_one_stays(world: World, tmp_path: Path) -> None:
    """Only files that the simulator wrote itself are taken for unfinished."""
    for name in ("unfinished", "mine"):
        (tmp_path / name).write_text(name)
    with pytest.raises(ConfigError, match="is not empty"):
        build_blocks(tmp_path, world, USERS, BLOCKS)
    assert content(tmp_path) == {name: name.encode() for name in ("unfinished", "mine")}


def test_two_processes_do_not_share_a_folder(world: World, tmp_path: Path) -> None:
    """What another process is making is neither removed nor mixed with."""

    def blocks() -> Iterator[int]:
        yield 0
        with pytest.raises(ConfigError, match="another process simulates there"):
            build_blocks(tmp_path, world, USERS, BLOCKS)
        yield from (1, 2)

    assert len(build_blocks(tmp_path, world, USERS, blocks()).users()) == USERS


def test_an_interrupted_simulation_says_that_it_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM leaves an empty folder, and the command does not promise to go on."""

    def terminated(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    arguments = ["simulate", "--world", "1", "--users", "200", "--out", str(tmp_path / "shop")]
    with monkeypatch.context() as patched:
        patched.setattr("offline.datasets.simulator.make_block", terminated)
        assert main(arguments) == 128 + signal.SIGTERM
    said = capsys.readouterr().err
    assert "interrupted; the same command starts again" in said
    assert "where it stopped" not in said
    assert list((tmp_path / "shop").iterdir()) == []
    assert main(arguments) == 0


def test_the_command_writes_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``simulate`` says where the tables lie; into a folder in use it ends with 2."""
    arguments = ["simulate", "--world", "1", "--users", "200", "--out", str(tmp_path / "shop")]
    assert main(arguments) == 0
    assert "simulated_1: canonical tables in" in capsys.readouterr().out
    assert len(CanonicalTables.open(tmp_path / "shop").users()) == 200
    assert main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err
