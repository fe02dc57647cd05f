"""The profiles: how well clusters of their vectors find planted archetypes, text by text."""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from loadtests.planted_shoppers import (
    ARCHETYPES,
    EACH,
    LEAST_PURCHASES,
    LEAST_QUERIES,
    Ints,
    Shoppers,
)
from loadtests.profile_figures import NO_ENCODER, Figures, differences, in_words, summary
from loadtests.profile_texts import TEXTS, Told, tell
from model.encoder import TextEncoder
from model.spec import OOV, user_row
from model.wordllama_encoder import WordLlamaEncoder
from offline.alignment import write_aligned
from offline.artefacts import Store
from offline.datasets.simulated.constants import CONSTANTS
from offline.embeddings import FILE_NAME, write_embeddings
from offline.encoders import open_minilm
from offline.groupings import NO_GROUPS
from offline.models import lookups_of
from offline.pipeline import Pipeline
from offline.presets import PRESETS
from offline.sources import simulated
from offline.user_rows import write_user_rows
from offline.writers.selection import provenance
from offline.writers.settings import WriterSettings

SEEDS = (1, 2, 3, 4, 5)
"""Each is a world, a draw of archetypes and users in it, and the start of K-means and of DIN."""
USERS = 8_000
PRESET = "paper"
RESTARTS = 20
PERMUTATIONS = 50
DEFAULT_ENCODER = "wordllama"
ROOT = Path("var")
POPULATION = {
    "seeds": f"simulated worlds {SEEDS[0]} to {SEEDS[-1]} of {USERS} users; a world's number seeds"
    " its draw, K-means and DIN",
    "eligible": f"users with {LEAST_PURCHASES} purchases and {LEAST_QUERIES} query or more in the"
    " year before training starts, where the profiles are cut",
    "few": f"{ARCHETYPES} archetypes drawn evenly among those with {EACH} eligible users or more,"
    f" and {EACH} eligible users of each drawn evenly",
    "all": "all eligible users of the same archetypes, for the texts that need no language model",
    "clusters": f"K-means, {ARCHETYPES} clusters, best of {RESTARTS} starts, on unit vectors",
    "chance": f"mean over {PERMUTATIONS} permutations of the true labels",
}
"""What was done, for those who read the figures."""

Vectors = NDArray[np.float32]


class Remembered:
    """A text encoder that encodes no text twice."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Vectors] = {}
        self.identity = encoder.identity
        self.width = encoder.width

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See ``TextEncoder``."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known |= dict(zip(missing, self._encoder.encode(missing), strict=True))
        return np.stack([self._known[text] for text in texts])


def purity(truth: Ints, found: NDArray[Any]) -> float:
    """Share of users whose label is the most frequent one of their cluster."""
    return float(contingency_matrix(truth, found).max(axis=0).sum() / len(truth))


def nmi(truth: Ints, found: NDArray[Any]) -> float:
    """Normalised mutual information, by the arithmetic mean of both entropies."""
    return float(normalized_mutual_info_score(truth, found))


def agreement(vectors: Vectors, truth: Ints, seed: int) -> dict[str, float]:
    """Cluster vectors, and compare the clusters with the truth and with chance.

    Args:
        vectors: float32 ``[N, D]``.
        truth: int64 ``[N]``: labels; there are as many clusters as distinct ones.
        seed: of K-means and of the permutations.

    Returns:
        ``purity`` and ``nmi``, and ``<measure>_by_chance``: their means over permuted labels.
    """
    found = KMeans(len(np.unique(truth)), n_init=RESTARTS, random_state=seed).fit(vectors).labels_
    random = np.random.default_rng(seed)
    permuted = [random.permutation(truth) for _ in range(PERMUTATIONS)]
    figures = {}
    for name, measure in (("purity", purity), ("nmi", nmi)):
        figures[name] = measure(truth, found)
        figures[f"{name}_by_chance"] = statistics.fmean(measure(p, found) for p in permuted)
    return figures


def vectors_of(told: Told, encoder: TextEncoder) -> dict[str, Vectors]:
    """What would be grouped of each text.

    Args:
        told: the texts of N users.
        encoder: encodes them.

    Returns:
        float32 ``[N, D]`` by the text's name: a listing's own unit vector; profiles through the
        encoder block, fitted on these users as a build of them alone would.
    """
    vectors = {name: encoder.encode(texts) for name, texts in told.listings.items()}
    for name, table in told.profiles.items():
        vectors[name] = _written(partial(write_embeddings, table, encoder))
    return vectors


def _written(write: Callable[[Path], object]) -> Vectors:
    """The vectors that a stage writes."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return _load(Path(folder))


def _load(folder: Path) -> Vectors:
    vectors: Vectors = np.load(folder / FILE_NAME, allow_pickle=False)
    return vectors


class World:
    """One seed: its world, and the users drawn in it."""

    def __init__(self, seed: int, store: Store, encoders: Mapping[str, TextEncoder]) -> None:
        self.seed = seed
        self.encoders = encoders
        self.pipeline = Pipeline(store, simulated(seed, USERS), PRESETS[PRESET])
        self.shoppers = Shoppers.open(self.pipeline.tables())
        self.drawn = self.shoppers.draw(seed)

    def measure(self, users: Ints, cache: Path | None) -> tuple[Figures, dict[str, Any]]:
        """Every text of the same users.

        Args:
            users: rows of the users table, rising.
            cache: of profile writers; None leaves the language model out.

        Returns:
            The figures, and what else is to be known of these users.
        """
        ids = self.shoppers.ids_of(users)
        told = tell(self.shoppers.tables, ids, cache)
        vectors = {name: vectors_of(told, encoder) for name, encoder in self.encoders.items()}
        vectors[DEFAULT_ENCODER] |= {name: found[users] for name, found in self._of_all.items()}
        vectors[NO_ENCODER] = {"user_ids": self._user_ids[users]}
        truth = self.shoppers.archetype[users]
        figures = {
            encoder: {name: agreement(found, truth, self.seed) for name, found in texts.items()}
            for encoder, texts in vectors.items()
        }
        described = self.shoppers.described(users) | {
            "id_row_share": round(self._id_row_share(ids), 3),
            "bayes_reader": self.shoppers.bayes_reader(users, self.drawn.archetypes),
        }
        if cache is not None:
            written = told.profiles["local_llm"]["writer"].to_pylist()
            described["local_llm_refused"] = sum(writer != "local" for writer in written)
        return figures, described

    def _id_row_share(self, user_ids: Sequence[str]) -> float:
        """Share of users with training rows enough for an id row that others do not share."""
        samples = self.pipeline.load_samples(NO_GROUPS)
        own = [user_row(user_id, samples.spec.user_rows) for user_id in user_ids]
        return float((lookups_of(samples).user_id_row[own] != OOV).mean())

    @cached_property
    def _of_all(self) -> dict[str, Vectors]:
        """Vectors that depend on all users of the world, float32 ``[N, D]`` of them all."""
        tables, encoder = self.shoppers.tables, self.encoders[DEFAULT_ENCODER]
        start = tables.schema.split.train_start
        return {
            "template_in_world": _load(self.pipeline.training_cut().embeddings.folder),
            "aligned": _written(partial(write_aligned, tables, start, encoder)),
        }

    @cached_property
    def _user_ids(self) -> Vectors:
        """The id rows that are grouped where there are no profiles, float32 ``[N, D]``."""
        trained = self.pipeline.trained("din", self.seed).folder
        samples = self.pipeline.load_samples(NO_GROUPS)
        return _written(partial(write_user_rows, self.shoppers.tables, trained, samples))


def measured() -> dict[str, Any]:
    """All seeds: the few users that every writer tells, and all users without the slow writer."""
    store = Store(ROOT / "artefacts")
    encoders = {
        DEFAULT_ENCODER: Remembered(WordLlamaEncoder()),
        "minilm": Remembered(open_minilm(store)),
    }
    few, every, worlds = [], [], []
    for seed in SEEDS:
        print(f"seed {seed} of {SEEDS[-1]}")
        world = World(seed, store, encoders)
        by_text, about_few = world.measure(world.drawn.few, ROOT / "cache" / "profiles")
        by_text_all, about_all = world.measure(world.drawn.all, None)
        few.append(by_text)
        every.append(by_text_all)
        drawn = {"seed": seed, "archetypes": world.drawn.archetypes.tolist()}
        worlds.append(drawn | {"few": about_few, "all": about_all})
    gaps = differences(few)
    return {
        "population": POPULATION,
        "texts": TEXTS,
        "encoders": {name: encoder.identity for name, encoder in encoders.items()},
        "local_llm": provenance(WriterSettings(writer="local")).identity,
        "constants": CONSTANTS.digest(),
        "few": summary(few),
        "differences": gaps,
        "in_words": in_words(gaps),
        "all": summary(every),
        "differences_all": differences(every),
        "worlds": worlds,
    }


def main() -> None:
    """Measure, write the figures and print them as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/profiles.json"))
    chosen = parser.parse_args()
    figures = measured()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
