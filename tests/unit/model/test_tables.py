"""Tables: the embedded rows that graphs take, equal to the network's own embedding."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.network.batch import Batch
from model.network.serving import serving_tables
from model.spec import FIRST_CODE, OOV
from model.tables import GROUP_INPUTS, USER_INPUTS, MalformedTables, Tables
from tests.ingredients import network
from tests.synthetic import World, feature_spec, world

DRAWN: World = world()
MODEL = network(DRAWN)
TABLES = serving_tables(MODEL)
SPEC = feature_spec()
ITEMS = len(TABLES.item_tokens) - FIRST_CODE


def saved(folder: Path) -> Path:
    """A folder with all tables."""
    TABLES.save(folder)
    return folder


def test_embedding_equals_the_networks() -> None:
    """Every graph input made from arrays equals what the trained network embeds."""
    users, groups = DRAWN.split.users, DRAWN.split.groups
    count = len(groups.codes)
    few = type(users)(**{name: column[:count] for name, column in vars(users).items()})
    items = np.arange(count, dtype=np.int64)[:, None] + OOV
    batch = Batch.of(few, groups, items, np.zeros(items.shape, np.float32))
    with torch.no_grad():
        expected = MODEL.embed(batch)
    found = {
        **TABLES.user_inputs(few),
        **TABLES.group_inputs(groups),
        "activity": few.activity,
        "candidates": TABLES.item_tokens[items],
    }
    assert set(found) == set(expected)
    for name, value in found.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, expected[name].numpy(), err_msg=name)


def test_the_sides_have_the_documented_inputs() -> None:
    """The two sides name exactly the inputs of docs/architecture.md."""
    assert tuple(TABLES.user_inputs(DRAWN.split.users)) == USER_INPUTS
    assert tuple(TABLES.group_inputs(DRAWN.split.groups)) == GROUP_INPUTS


def test_padded_steps_are_zero() -> None:
    """A padded step is the zero row and its mask 0; a real step's mask is 1."""
    inputs = TABLES.user_inputs(DRAWN.split.users)
    padded = inputs["history_mask"] == 0
    assert padded.any()
    assert not inputs["history"][padded].any()
    assert (inputs["history_mask"][~padded] == 1).all()


def test_a_new_item_is_its_fields_around_the_unknown_id() -> None:
    """A new item's token is the unknown id's row and the rows of its own fields."""
    row = FIRST_CODE + 4
    codes = DRAWN.lookups.item_codes[row].astype(np.int32)
    token = TABLES.new_item_token(codes)
    width = len(TABLES.item_id_oov)
    np.testing.assert_array_equal(token[:width], TABLES.item_tokens[OOV][:width])
    np.testing.assert_array_equal(token[width:], TABLES.item_tokens[row][width:])
    assert token.shape == (TABLES.token_width,)


def test_tables_are_read_back_mapped(tmp_path: Path) -> None:
    """Saved tables come back equal, and mapped read-only rather than copied."""
    again = Tables.load(saved(tmp_path), SPEC, ITEMS)
    assert isinstance(again.user.base, np.memmap)
    for (name, one), other in zip(TABLES.arrays().items(), again.arrays().values(), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
    with pytest.raises(ValueError, match="read-only"):
        again.user[0, 0] = 1


STEMS = sorted(TABLES.arrays())


@pytest.mark.parametrize("stem", STEMS)
def test_a_missing_table_is_told(tmp_path: Path, stem: str) -> None:
    """Every table is needed."""
    (saved(tmp_path) / f"{stem}.npy").unlink()
    with pytest.raises(FileNotFoundError, match=f"{stem}.npy"):
        Tables.load(tmp_path, SPEC, ITEMS)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kind", ["float64", "one row less", "one axis", "wider", "NaN", "inf"])
def test_a_malformed_table_is_told(tmp_path: Path, stem: str, kind: str) -> None:
    """A table of another type, shape or with values that are not finite is refused by name."""
    path = saved(tmp_path) / f"{stem}.npy"
    table = np.load(path)
    if kind == "float64":
        table = table.astype(np.float64)
    elif kind == "one row less":
        table = table[:-1]
    elif kind == "one axis":
        table = table.reshape(-1)[: len(table)] if table.ndim > 1 else table[:, None]
    elif kind == "wider":
        table = np.concatenate([table, table], axis=-1)
    else:
        table.reshape(-1)[-1] = np.nan if kind == "NaN" else np.inf
    np.save(path, table)
    if kind == "wider" and stem in FREE_WIDTH:
        Tables.load(tmp_path, SPEC, ITEMS)
        return
    with pytest.raises(MalformedTables, match=rf"{stem}.npy|item_tokens.npy|group_level_"):
        Tables.load(tmp_path, SPEC, ITEMS)


FREE_WIDTH = {"user", "context_0", "context_1", "attribute_0", "attribute_1"}
"""Tables whose width only the graphs know: the golden requests find a wrong one."""


def test_a_pickled_table_is_refused(tmp_path: Path) -> None:
    """A file that would run code when read is never read."""
    np.save(saved(tmp_path) / "user.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(MalformedTables, match=r"user.npy: no array can be read"):
        Tables.load(tmp_path, SPEC, ITEMS)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """A file without content is told like any other that is no table."""
    (saved(tmp_path) / "ages.npy").write_bytes(b"")
    with pytest.raises(MalformedTables, match=r"ages.npy: no array can be read"):
        Tables.load(tmp_path, SPEC, ITEMS)
