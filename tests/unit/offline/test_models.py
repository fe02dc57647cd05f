"""Models by name: made from samples, saved and read back to the bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.assembly import Catalogue
from model.baselines.din import Din
from model.losses import LossConfig, activity_threshold
from model.network.choirrec import ChoirRec
from model.network.contract import ConversionModel
from model.spec import FIRST_CODE, OOV
from offline.models import MODELS, build_model, load_state, lookups_of, losses_of, save_state
from offline.presets import PRESETS
from offline.samples import Samples
from tests.fixtures.tiny_log import TINY_PRESET
from tests.synthetic import TINY, world

PRESET = replace(TINY_PRESET, network=TINY)


def samples() -> Samples:
    """Samples of a small world, with item vectors that are easy to tell."""
    drawn = world()
    rows = len(drawn.lookups.item_codes)
    vectors = np.tile(np.arange(rows, dtype=np.float32)[:, None], (1, TINY.item_dim))
    codes = drawn.lookups.item_codes[FIRST_CODE:].astype(np.int32)
    return Samples(
        spec=drawn.spec,
        catalogue=Catalogue(np.arange(len(codes), dtype=np.uint64), codes),
        item_vectors=vectors,
        train=drawn.split,
        validation=drawn.split,
        test=drawn.split,
    )


SAMPLES = samples()


def state(model: ConversionModel) -> dict[str, bytes]:
    """A model's parameters as bytes."""
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def test_models_are_made_by_name_and_seed() -> None:
    """Each name makes its model; the seed decides its start, and nothing else does."""
    assert isinstance(build_model("din", SAMPLES, PRESET, 0), Din)
    assert isinstance(build_model("choirrec", SAMPLES, PRESET, 0), ChoirRec)
    for name in MODELS:
        first, again, other = (build_model(name, SAMPLES, PRESET, seed) for seed in (0, 0, 1))
        assert state(first) == state(again)
        assert state(first) != state(other)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """A misspelt model says which there are."""
    with pytest.raises(KeyError, match="known: din, choirrec"):
        build_model("choirec", SAMPLES, PRESET, 0)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_begins_from_the_same_item_vectors(name: str) -> None:
    """Whatever helps is given to all: the item rows begin from purchases before training."""
    found = build_model(name, SAMPLES, PRESET, 3).state_dict()["tables.item.weight"].numpy()
    known = np.asarray(lookups_of(SAMPLES).item_id_row) > OOV
    assert known.any()
    assert np.array_equal(found[known], SAMPLES.item_vectors[known])


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_read_back_to_the_bit(name: str, tmp_path: Path) -> None:
    """A saved model is the loaded one, and equal parameters give equal files."""
    model, other = (build_model(name, SAMPLES, PRESET, seed) for seed in (0, 1))
    save_state(model, tmp_path / "a.npz")
    load_state(other, tmp_path / "a.npz")
    assert state(other) == state(model)
    save_state(other, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_parameters_of_another_model_are_refused(tmp_path: Path) -> None:
    """A file of DIN is no ChoirRec, and one of other sizes no model of these."""
    save_state(build_model("din", SAMPLES, PRESET, 0), tmp_path / "din.npz")
    with pytest.raises(RuntimeError, match="Missing key"):
        load_state(build_model("choirrec", SAMPLES, PRESET, 0), tmp_path / "din.npz")
    wide = replace(PRESET, network=replace(TINY, tower=(20, 12, 8)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_state(build_model("din", SAMPLES, wide, 0), tmp_path / "din.npz")


def test_users_are_counted_by_training_rows_alone() -> None:
    """A user with fewer training rows than the spec asks for shares the unknown user's row."""
    train = SAMPLES.train
    counts = np.bincount(train.users.user_row[train.row_context], minlength=SAMPLES.spec.user_rows)
    rows = np.asarray(lookups_of(SAMPLES).user_id_row)
    rare = counts < SAMPLES.spec.min_user_rows
    assert (rows[FIRST_CODE:][rare[FIRST_CODE:]] == OOV).all()
    assert (rows[FIRST_CODE:][~rare[FIRST_CODE:]] != OOV).all()


def test_the_preset_chooses_the_losses() -> None:
    """Presets differ by the auxiliary losses; theta_act is counted over the training rows."""
    identified = losses_of(SAMPLES, PRESET)
    literal = losses_of(SAMPLES, replace(PRESET, auxiliary=False))
    assert identified == LossConfig.identified(theta_act=identified.theta_act)
    assert literal == LossConfig.literal(theta_act=identified.theta_act)
    train = SAMPLES.train
    assert identified.theta_act == activity_threshold(train.users.purchases[train.row_context])


def test_the_short_preset_is_one_epoch_under_its_own_name() -> None:
    """A short demo cannot be taken for a full one: neither by name nor by its artefacts."""
    short = PRESETS["demo"].shortened()
    assert (short.name, short.train.epochs) == ("demo-short", 1)
    assert replace(short, name="demo", train=PRESETS["demo"].train) == PRESETS["demo"]
