"""The pipeline: which stage reads what, from a data set to trained and measured models."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.network.contract import ConversionModel
from offline.alignment import write_aligned
from offline.artefacts import Artefact, Store
from offline.cuts import Cut, Cuts
from offline.encoders import EncoderChoice
from offline.events import CanonicalTables
from offline.groupings import NO_GROUPS, PROFILES, Grouping
from offline.histories import Histories, epoch_s
from offline.item_contexts import item_contexts
from offline.learning import evaluator, trainer
from offline.methods.method import Materials, Method
from offline.methods.registry import METHODS, method_of
from offline.models import load_state
from offline.presets import Preset
from offline.regrouping import Grouped, regroup
from offline.rules import ConfigError
from offline.samples import BaseSamples, Samples, with_clicks
from offline.sampling import base_builder, grouped_builder, open_histories
from offline.saviorenc import EncodedItems, encode_items
from offline.user_rows import write_user_rows
from offline.writers.settings import WriterSettings

ENCODED_ITEMS_SEED = 0
CHOIRREC = METHODS["choirrec"]
"""Whose size the matched methods have."""


@dataclass(frozen=True)
class Dataset:
    """Where canonical tables come from."""

    name: str
    build: Callable[[Path], object]
    settings: Mapping[str, Any]
    """All that the rows depend on: versions, windows, digests of files."""
    module: str
    """The adapter that builds them."""


class Pipeline:
    """The stages over one data set and one preset, each built once and found afterwards."""

    def __init__(
        self,
        store: Store,
        dataset: Dataset,
        preset: Preset,
        writer: WriterSettings | None = None,
        encoder: EncoderChoice | None = None,
    ) -> None:
        self.store = store
        self.dataset = dataset
        self.preset = preset
        self.writer = writer or WriterSettings()
        self.encoder = encoder or EncoderChoice()

    def events(self) -> Artefact:
        """Canonical tables."""
        return self.store.make(
            "events", self.dataset.build, self.dataset.settings, code=(self.dataset.module,)
        )

    def tables(self) -> CanonicalTables:
        """The canonical tables, opened."""
        return CanonicalTables.open(self.events().folder)

    def training_cut(self) -> Cut:
        """The generation that training and evaluation read: cut where training starts."""
        return self._cut(self.tables().schema.split.train_start)

    def grouped(self, grouping: Grouping) -> Cut | Grouped:
        """The same generation by any grouping."""
        if grouping == PROFILES:
            return self.training_cut()
        start = self.tables().schema.split.train_start
        return regroup(self._cuts(), start, grouping, self._vectors(grouping))

    def _vectors(self, grouping: Grouping) -> Artefact | None:
        """The vectors that decide a grouping where profiles do not."""
        if grouping.kind == "aligned":
            return self.store.make(
                "aligned",
                self._write_aligned,
                {"encoder": self.encoder.decides},
                inputs=(self.events(),),
                code=("offline.alignment", *self.encoder.code),
                resumable=True,
            )
        if grouping.kind == "user_rows":
            trained = self.trained("din", grouping.seed)
            return self.store.make(
                "user_rows",
                lambda out: self._write_user_rows(trained, out),
                {},
                inputs=(self.events(), trained),
            )
        return None

    def serving_cut(self, moment: datetime | None = None) -> Cut:
        """A generation to publish, by the frozen encoder block and codebooks.

        Args:
            moment: the cut, UTC without a zone; None: where the test starts.

        Raises:
            ConfigError: when the cut is before training or after the log's end.
        """
        split = self.tables().schema.split
        cut = moment or split.test_start
        if not split.train_start <= cut <= split.test_end:
            raise ConfigError(
                f"cut {cut.isoformat()}: expected {split.train_start.isoformat()} (where training "
                f"starts) to {split.test_end.isoformat()} (where the log ends), in UTC"
            )
        return self._cut(cut, self.training_cut())

    def base_samples(self) -> Artefact:
        """Point-in-time rows of all splits, which no grouping changes."""
        preset = self.preset
        settings = {
            "history_len": preset.history_len,
            "group_len": preset.group_len,
            "item_dim": preset.network.item_dim,
        }
        return self.store.make(
            "base_samples",
            base_builder(self.tables(), self.preset),
            settings,
            inputs=(self.events(),),
            code=("offline.sampling",),
        )

    def samples(self, grouping: Grouping = PROFILES) -> Artefact:
        """What a grouping adds to the rows."""
        base, cut = self.base_samples(), self.grouped(grouping)
        return self.store.make(
            "samples",
            grouped_builder(base.folder, cut.groups.folder, cut.files(), self.preset.n_min),
            {"n_min": self.preset.n_min},
            inputs=(base, cut.groups, cut.priors),
            code=("offline.sampling",),
        )

    def load_samples(self, grouping: Grouping = PROFILES) -> Samples:
        """The samples, mapped."""
        return Samples.load(self.base_samples().folder, self.samples(grouping).folder)

    def trained(self, name: str, seed: int) -> Artefact:
        """A trained model: ``state.npz`` and ``training.json``.

        Args:
            name: of a method (offline/methods/registry.py).
            seed: decides its start and its order of rows.

        Raises:
            KeyError: when there is no such method.
        """
        method, preset = method_of(name), self.preset
        read = self._read_by(method, seed)
        settings = {
            "build": f"{method.module}.{method.build.__name__}",
            "options": dict(method.options),
            "matched": method.matched,
            "needs": list(method.needs),
            "seed": seed,
            "network": asdict(preset.network),
            "train": asdict(preset.train),
            "one_pass_rows": preset.one_pass_rows,
            "losses": preset.losses,
        }
        code = ["offline.training", "model.baselines.size_match", method.module]
        code += [CHOIRREC.module] if method.matched else []
        return self.store.make(
            "training",
            trainer(method, CHOIRREC, lambda: self._materials(method, seed)),
            settings,
            inputs=read,
            code=code,
            resumable=True,
        )

    def evaluated(self, name: str, seed: int) -> Artefact:
        """What a model says of the test rows: its logits, and ``metrics.json``.

        Where the data set has a panel, its logits are kept too (``panel_logit.npy``).
        """
        method = method_of(name)
        read, trained = self._read_by(method, seed), self.trained(name, seed)
        return self.store.make(
            "evaluation",
            evaluator(lambda: self.method_samples(name, seed), lambda: self.model(name, seed)),
            {},
            inputs=(*read, trained),
            code=("offline.learning",),
        )

    def training(self, name: str, seed: int) -> Mapping[str, Any]:
        """What was done to train a model, by name (``offline.training.TrainResult``)."""
        folder = self.trained(name, seed).folder
        record: Mapping[str, Any] = json.loads((folder / "training.json").read_text())
        return record

    def metrics(self, name: str, seed: int) -> Mapping[str, Any]:
        """The test metrics of a model by name."""
        metrics: Mapping[str, Any] = json.loads(
            (self.evaluated(name, seed).folder / "metrics.json").read_text()
        )
        return metrics

    def model(self, name: str, seed: int) -> ConversionModel:
        """A trained model, loaded."""
        method = method_of(name)
        model = method.make(self._materials(method, seed), CHOIRREC)
        load_state(model, self.trained(name, seed).folder / "state.npz")
        return model

    def method_samples(self, name: str, seed: int) -> Samples:
        """The rows as a method reads them: with its groups, and clicks if it needs them."""
        return self._samples_for(method_of(name), seed)

    def histories(self) -> Histories:
        """What was known of every user when."""
        return open_histories(self.tables(), BaseSamples.load(self.base_samples().folder).spec)

    def _cuts(self) -> Cuts:
        return Cuts(self.store, self.events(), self.preset, self.writer, self.encoder)

    def _cut(self, moment: datetime, fitted: Cut | None = None) -> Cut:
        return self._cuts().build(moment, fitted)

    def _write_aligned(self, out: Path) -> None:
        start = self.tables().schema.split.train_start
        write_aligned(self.tables(), start, self.encoder.open(self.store), out)

    def _write_user_rows(self, trained: Artefact, out: Path) -> None:
        write_user_rows(self.tables(), trained.folder, self.load_samples(NO_GROUPS), out)

    def _read_by(self, method: Method, seed: int) -> tuple[Artefact, ...]:
        """The artefacts a method reads."""
        further = {
            "user_vectors": lambda: self._user_vectors(method),
            "encoded_items": self._encoded_items,
        }
        needed = [further[need]() for need in method.needs if need in further]
        return (self.base_samples(), self.samples(method.grouped(seed)), *needed)

    def _samples_for(self, method: Method, seed: int) -> Samples:
        samples = self.load_samples(method.grouped(seed))
        return (
            with_clicks(samples, self.preset.history_len) if "clicks" in method.needs else samples
        )

    def _user_vectors(self, method: Method) -> Artefact:
        """The profile vectors that a method reads: those its grouping is made from."""
        return self._vectors(method.grouping) or self.training_cut().embeddings

    def _encoded_items(self) -> Artefact:
        """Items encoded from their texts by what is bought together before training."""

        def build(out: Path) -> None:
            tables, base = self.tables(), BaseSamples.load(self.base_samples().folder)
            encoded = encode_items(
                tables.items(),
                base.catalogue,
                self.histories(),
                epoch_s(tables.schema.split.train_start),
                self.encoder.open(self.store),
                ENCODED_ITEMS_SEED,
            )
            encoded.save(out)

        return self.store.make(
            "encoded_items",
            build,
            {"encoder": self.encoder.decides, "seed": ENCODED_ITEMS_SEED},
            inputs=(self.events(), self.base_samples()),
            code=("offline.saviorenc", *self.encoder.code),
        )

    def _materials(self, method: Method, seed: int) -> Materials:
        samples, given = self._samples_for(method, seed), dict[str, Any]()
        if "user_vectors" in method.needs:
            file = self._user_vectors(method).folder / "embeddings.npy"
            given["user_vectors"] = numbered_vectors(np.load(file, mmap_mode="r"))
        if "encoded_items" in method.needs:
            given["encoded_items"] = EncodedItems.load(self._encoded_items().folder)
        if "item_contexts" in method.needs:
            start_s = epoch_s(self.tables().schema.split.train_start)
            given["contexts"] = item_contexts(samples.catalogue, self.histories(), start_s)
        return Materials(samples, self.preset, seed, **given)


def numbered_vectors(vectors_NW: Any) -> NDArray[np.float32]:
    """Vectors by user number: a zero row for unknown users first, entries of about unit size.

    Args:
        vectors_NW: float32 ``[N, W]`` of unit length, users in the order of the users table.

    Returns:
        float32 ``[N + 1, W]``.
    """
    scaled = np.asarray(vectors_NW, np.float32) * np.float32(np.sqrt(vectors_NW.shape[1]))
    return np.concatenate([np.zeros((1, scaled.shape[1]), np.float32), scaled])
