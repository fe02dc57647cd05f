"""Models by name: made from samples, saved and loaded as plain arrays."""

from pathlib import Path

import numpy as np
import torch

from model.baselines.din import Din
from model.losses import LossConfig, activity_threshold
from model.network.choirrec import ChoirRec
from model.network.contract import ConversionModel
from model.network.tables import Lookups
from offline.presets import Preset
from offline.samples import Samples

MODELS = ("din", "choirrec")


def build_model(name: str, samples: Samples, preset: Preset, seed: int) -> ConversionModel:
    """Make a fresh model for samples.

    Args:
        name: one of ``MODELS``.
        samples: whose vocabularies, rare ids and item vectors it takes.
        preset: sizes and losses.
        seed: decides every other initial value.

    Returns:
        The model, its item rows begun from purchases before training.

    Raises:
        KeyError: when there is no model of that name.
    """
    if name not in MODELS:
        raise KeyError(f"no model {name!r}; known: {', '.join(MODELS)}")
    lookups = lookups_of(samples)
    model: Din | ChoirRec
    if name == "din":
        model = Din(samples.spec, preset.network, lookups, seed)
    else:
        losses = losses_of(samples, preset)
        model = ChoirRec(samples.spec, preset.network, lookups, losses, seed)
    model.tables.init_item_vectors(samples.item_vectors)
    return model


def lookups_of(samples: Samples) -> Lookups:
    """Rare ids by their occurrences in training: as candidates and in histories."""
    train = samples.train
    histories = train.users.history_items
    item_rows = np.concatenate([train.row_item, histories[histories > 0]])
    user_rows = train.users.user_row[train.row_context]
    return Lookups.count(samples.spec, samples.catalogue, user_rows, item_rows)


def losses_of(samples: Samples, preset: Preset) -> LossConfig:
    """The losses of a preset, with theta_act counted over the training rows."""
    train = samples.train
    theta_act = activity_threshold(np.asarray(train.users.purchases)[train.row_context])
    make = LossConfig.identified if preset.auxiliary else LossConfig.literal
    return make(theta_act=theta_act)


def save_state(model: ConversionModel, path: Path) -> None:
    """Write a model's parameters as one ``.npz``; equal parameters give equal bytes."""
    np.savez(path, **{name: value.numpy() for name, value in model.state_dict().items()})


def load_state(model: ConversionModel, path: Path) -> None:
    """Read parameters that ``save_state`` wrote into a model of the same make.

    Raises:
        RuntimeError: when names or shapes differ.
    """
    with np.load(path, allow_pickle=False) as arrays:
        model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
