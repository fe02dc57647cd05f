"""User rows: a trained DIN's id rows as vectors to group by, the ablation without profiles."""

from pathlib import Path

import numpy as np

from model.spec import user_row
from offline.events import CanonicalTables
from offline.models import lookups_of
from offline.samples import Samples


def write_user_rows(tables: CanonicalTables, trained: Path, samples: Samples, folder: Path) -> None:
    """Write every user's row of a trained model as ``embeddings.npy``.

    Args:
        tables: whose users, in their order.
        trained: folder of a trained model.
        samples: what it was trained on; users too rare there share the out-of-vocabulary row.
        folder: where to; float32 ``[N, user_dim]`` of unit length.
    """
    with np.load(trained / "state.npz", allow_pickle=False) as state:
        table = state["tables.user.weight"]
    ids = tables.users()["user_id"].to_pylist()
    n_rows = samples.spec.user_rows
    own = np.array([user_row(str(user_id), n_rows) for user_id in ids], np.int64)
    rows = table[lookups_of(samples).user_id_row[own]]
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    np.save(folder / "embeddings.npy", (rows / np.maximum(length, 1e-12)).astype(np.float32))
