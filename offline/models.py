"""Models as plain arrays: which rows they look up, and how their parameters are kept."""

from pathlib import Path

import numpy as np
import torch

from model.network.contract import ConversionModel
from model.network.tables import Lookups
from offline.samples import Samples


def lookups_of(samples: Samples) -> Lookups:
    """Rare ids by their occurrences in training: as candidates and in histories."""
    train = samples.train
    histories = train.users.history_items
    item_rows = np.concatenate([train.row_item, histories[histories > 0]])
    user_rows = train.users.user_row[train.row_context]
    return Lookups.count(samples.spec, samples.catalogue, user_rows, item_rows)


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
