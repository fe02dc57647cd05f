"""Methods: networks made from samples by name, saved and read back to the bit."""

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
from offline.groupings import Grouping
from offline.methods.choirrec import losses_of
from offline.methods.method import Materials
from offline.methods.registry import METHODS, method_of
from offline.models import load_state, lookups_of, save_state
from offline.presets import PRESETS, Preset
from offline.samples import Samples
from offline.saviorenc import EncodedItems
from tests.baselines import contexts_of, modal_of
from tests.fixtures.tiny_log import TINY_PRESET
from tests.synthetic import TINY, world

PRESET = replace(TINY_PRESET, network=replace(TINY, tower=(192, 96, 48)))


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
        item_purchases=np.arange(rows),
    )


SAMPLES = samples()
CHOIRREC = METHODS["choirrec"]
TRAINED = tuple(name for name in METHODS if name != "popularity")


def build_model(name: str, preset: Preset, seed: int) -> ConversionModel:
    """The network of a method on the small world."""
    users = int(SAMPLES.train.context_user.max()) + 1
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((users + 1, 6)).astype(np.float32)
    vectors[0] = 0
    drawn = world()
    items = EncodedItems(*modal_of(drawn))
    materials = Materials(SAMPLES, preset, seed, vectors, contexts_of(drawn), items)
    return method_of(name).make(materials, CHOIRREC)


def state(model: ConversionModel) -> dict[str, bytes]:
    """A model's parameters as bytes."""
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def test_models_are_made_by_name_and_seed() -> None:
    """Each name makes its model; the seed decides its start, and nothing else does."""
    assert isinstance(build_model("din_base", PRESET, 0), Din)
    assert isinstance(build_model("choirrec", PRESET, 0), ChoirRec)
    for name in TRAINED:
        first, again, other = (build_model(name, PRESET, seed) for seed in (0, 0, 1))
        assert state(first) == state(again)
        assert state(first) != state(other)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """A misspelt model says which there are."""
    with pytest.raises(KeyError, match=r"known: .*din, .*choirrec"):
        build_model("choirec", PRESET, 0)


def test_a_matched_method_has_choirrecs_size_and_the_others_their_own() -> None:
    """Controls and baselines have as many dense parameters as ChoirRec, within a twentieth."""
    size = build_model("choirrec", PRESET, 0).dense_parameters()
    matched = [name for name, method in METHODS.items() if method.matched]
    assert {"din", "din_vector", "poso", "melt", "uie", "saviorrec"} <= set(matched)
    for name in matched:
        found = build_model(name, PRESET, 0).dense_parameters()
        assert abs(found - size) <= 0.05 * size, name
    assert build_model("din_base", PRESET, 0).dense_parameters() < size


def test_only_permuted_methods_read_another_grouping_for_every_seed() -> None:
    """The permutation follows the model's seed; everything else reads one grouping."""
    assert METHODS["choirrec_permuted"].grouped(4) == Grouping(permutation=4)
    for name in ("choirrec", "choirrec_oracle", "poso"):
        assert METHODS[name].grouped(0) == METHODS[name].grouped(1)


def test_popular_items_come_first_without_any_training() -> None:
    """The control that needs no model orders items by their purchases before training."""
    model = build_model("popularity", PRESET, 0)
    batch = SAMPLES.train.batch(np.arange(20))
    expected = np.log1p(SAMPLES.item_purchases[SAMPLES.train.row_item[:20]])
    assert np.allclose(model(batch).logit.numpy().ravel(), expected)


@pytest.mark.parametrize("name", TRAINED)
def test_every_model_begins_from_the_same_item_vectors(name: str) -> None:
    """Whatever helps is given to all: the item rows begin from purchases before training."""
    found = build_model(name, PRESET, 3).state_dict()["tables.item.weight"].numpy()
    known = np.asarray(lookups_of(SAMPLES).item_id_row) > OOV
    assert known.any()
    assert np.array_equal(found[known], SAMPLES.item_vectors[known])


@pytest.mark.parametrize("name", TRAINED)
def test_parameters_are_read_back_to_the_bit(name: str, tmp_path: Path) -> None:
    """A saved model is the loaded one, and equal parameters give equal files."""
    model, other = (build_model(name, PRESET, seed) for seed in (0, 1))
    save_state(model, tmp_path / "a.npz")
    load_state(other, tmp_path / "a.npz")
    assert state(other) == state(model)
    save_state(other, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_parameters_of_another_model_are_refused(tmp_path: Path) -> None:
    """A file of DIN is no ChoirRec, and one of other sizes no model of these."""
    save_state(build_model("din_base", PRESET, 0), tmp_path / "din.npz")
    with pytest.raises(RuntimeError, match="Missing key"):
        load_state(build_model("choirrec", PRESET, 0), tmp_path / "din.npz")
    wide = replace(PRESET, network=replace(TINY, tower=(20, 12, 8)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_state(build_model("din_base", wide, 0), tmp_path / "din.npz")


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
    identified = losses_of(Materials(SAMPLES, PRESET, 0))
    literal = losses_of(Materials(SAMPLES, replace(PRESET, auxiliary=False), 0))
    assert identified == LossConfig.identified(theta_act=identified.theta_act)
    assert literal == LossConfig.literal(theta_act=identified.theta_act)
    train = SAMPLES.train
    assert identified.theta_act == activity_threshold(train.users.purchases[train.row_context])


def test_the_short_preset_is_one_epoch_under_its_own_name() -> None:
    """A short demo cannot be taken for a full one: neither by name nor by its artefacts."""
    short = PRESETS["demo"].shortened()
    assert (short.name, short.train.epochs) == ("demo-short", 1)
    assert replace(short, name="demo", train=PRESETS["demo"].train) == PRESETS["demo"]
