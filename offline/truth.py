"""Truth: what a simulated data set knows beside its canonical tables; no stage but evaluation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from offline.datasets.simulated.bands import open_world
from offline.datasets.simulated.observed import observed
from offline.datasets.simulated.reader import BayesReader
from offline.datasets.simulated.tables import TRUTH
from offline.events import CanonicalTables
from offline.histories import Ints, positions


@dataclass(frozen=True)
class Truth:
    """Where the truth of a data set lies."""

    folder: Path

    @classmethod
    def beside(cls, tables: Path) -> "Truth | None":
        """The truth beside canonical tables; None where nobody knows it."""
        folder = tables / TRUTH
        return cls(folder) if folder.is_dir() else None

    def panel(self) -> pa.Table:
        """Further clicks of the test day: the columns of clicks, and ``probability``."""
        return pq.read_table(self.folder / "panel.parquet")

    def probabilities(self) -> NDArray[np.float32]:
        """float32, in the order of clicks.parquet; NaN before training."""
        column = pq.read_table(self.folder / "clicks.parquet", columns=["probability"])
        return np.asarray(column["probability"].to_numpy(), np.float32)

    def low_activity(self, users: pa.Table) -> NDArray[np.bool_]:
        """Bool ``[N]``: who counts as low-activity, in the order of the users table."""
        segments = pq.read_table(self.folder / "segments.parquet")
        return self._ordered(users, segments["user_id"], segments["low_activity"].to_numpy())

    def archetypes(self, users: pa.Table) -> Ints:
        """int64 ``[N]``: every user's archetype, in the order of the users table."""
        truth = pq.read_table(self.folder / "users.parquet", columns=["user_id", "archetype"])
        values = np.asarray(truth["archetype"].to_numpy(), np.int64)
        ordered: Ints = self._ordered(users, truth["user_id"], values)
        return ordered

    def likeliest_archetypes(self, tables: CanonicalTables) -> Ints:
        """int64 ``[N]``: what the Bayes reader guesses from what profiles are written from."""
        seen = observed(tables, tables.users()["user_id"].combine_chunks())
        reader = BayesReader.build(open_world(tables))
        posterior = reader.log_posterior(seen.attributes, seen.purchases, seen.queries)
        likeliest: Ints = posterior.argmax(axis=1).astype(np.int64)
        return likeliest

    def _ordered(self, users: pa.Table, ids: pa.ChunkedArray, values: NDArray) -> NDArray:  # type: ignore[type-arg]
        return values[positions(users["user_id"], ids)]
