"""The pipeline: which stage reads what, from a data set to trained and measured models."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from model.assembly import Catalogue
from model.network.contract import ConversionModel
from model.network.prediction import predict
from model.spec import SECONDS_PER_DAY, FeatureSpec
from offline.artefacts import Artefact, Store
from offline.cuts import Cut, Cuts, epoch_s
from offline.distillation import collapse, mean_alpha_distill
from offline.encoders import EncoderChoice
from offline.evaluation import evaluate, gauc_low
from offline.events import CanonicalTables, DatasetSchema
from offline.events import Split as TimeSplit
from offline.generations import GroupSide
from offline.groupings import PROFILES, Grouping, group_shape
from offline.histories import Histories, Ints, positions, seconds
from offline.models import build_model, load_state, save_state
from offline.presets import Preset
from offline.rows import PROBABILITY, Clicks, Period, build_rows
from offline.rules import ConfigError
from offline.samples import PANEL, BaseSamples, Samples, item_vectors, save_grouped
from offline.training import train
from offline.truth import Truth
from offline.vocabulary import (
    ACTIVITY_WINDOW_DAYS,
    Columns,
    Sizes,
    build_catalogue,
    build_spec,
)
from offline.writers.settings import WriterSettings

LOGGER = logging.getLogger(__name__)


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

    def training_cut(self, grouping: Grouping = PROFILES) -> Cut:
        """The generation that training and evaluation read: cut where training starts."""
        return self._cut(self.tables().schema.split.train_start, grouping=grouping)

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
            lambda out: self._build_base().save(out),
            settings,
            inputs=(self.events(),),
            code=("offline.rows", "offline.samples", "offline.truth"),
        )

    def samples(self, grouping: Grouping = PROFILES) -> Artefact:
        """What a grouping adds to the rows."""
        base, cut = self.base_samples(), self.training_cut(grouping)
        return self.store.make(
            "samples",
            lambda out: self._group_samples(BaseSamples.load(base.folder), cut, out),
            {"n_min": self.preset.n_min},
            inputs=(base, cut.groups, cut.priors),
        )

    def load_samples(self, grouping: Grouping = PROFILES) -> Samples:
        """The samples, mapped."""
        return Samples.load(self.base_samples().folder, self.samples(grouping).folder)

    def trained(self, name: str, seed: int) -> Artefact:
        """A trained model: ``state.npz`` and ``training.json``."""
        samples = self.samples()
        return self.store.make(
            "training",
            lambda out: self._train(name, seed, out),
            {"model": name, "seed": seed, "preset": asdict(self.preset)},
            inputs=(samples,),
            code=("offline.training", "offline.models"),
            resumable=True,
        )

    def evaluated(self, name: str, seed: int) -> Artefact:
        """A model's metrics on the test rows: ``metrics.json``, and its ``logit.npy``."""
        samples, trained = self.samples(), self.trained(name, seed)

        def build(out: Path) -> None:
            split = self.load_samples().test
            prediction = predict(self.model(name, seed), split)
            metrics = evaluate(prediction.logit, split, prediction.alpha_fusion)
            np.save(out / "logit.npy", prediction.logit)
            (out / "metrics.json").write_text(metrics.to_json())

        return self.store.make("evaluation", build, {}, inputs=(samples, trained))

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
        samples = self.load_samples()
        model = build_model(name, samples, self.preset, seed)
        load_state(model, self.trained(name, seed).folder / "state.npz")
        return model

    def histories(self) -> Histories:
        """What was known of every user when."""
        return open_histories(self.tables(), self.load_samples().spec)

    def _cut(
        self, moment: datetime, fitted: Cut | None = None, grouping: Grouping = PROFILES
    ) -> Cut:
        cuts = Cuts(self.store, self.events(), self.preset, self.writer, self.encoder)
        return cuts.build(moment, fitted, grouping)

    def _build_base(self) -> BaseSamples:
        tables = self.tables()
        split = tables.schema.split
        users, items = tables.users(), tables.items()
        spec = build_spec(
            users,
            items,
            columns_of(tables.schema),
            window_purchases(tables, epoch_s(split.train_start)),
            Sizes(
                history_len=self.preset.history_len,
                group_len=self.preset.group_len,
                levels=self.preset.levels,
                codes_per_level=1,
                n_min=self.preset.n_min,
            ),
        )
        catalogue = build_catalogue(spec, items)
        histories = open_histories(tables, spec)
        truth = Truth.beside(tables.folder)
        low = truth.low_activity(users) if truth else None
        parts = [(period, clicks_of(tables, catalogue, period, truth)) for period in periods(split)]
        if truth:
            clicks = Clicks.of(truth.panel(), users["user_id"], catalogue)
            parts.append((replace(periods(split)[-1], name=PANEL), clicks))
        return BaseSamples(
            spec=spec,
            catalogue=catalogue,
            item_vectors=item_vectors(
                catalogue, histories, epoch_s(split.train_start), self.preset.network.item_dim
            ),
            splits={
                period.name: build_rows(spec, catalogue, histories, clicks, period, low)
                for period, clicks in parts
            },
        )

    def _group_samples(self, base: BaseSamples, cut: Cut, out: Path) -> None:
        levels, codes = group_shape(cut.groups.folder)
        spec = replace(base.spec, levels=levels, codes_per_level=codes, n_min=self.preset.n_min)
        save_grouped(out, base, spec, [GroupSide.load(cut.files(), spec)])

    def _train(self, name: str, seed: int, out: Path) -> None:
        loaded = self.load_samples()
        model = build_model(name, loaded, self.preset, seed)
        result = train(
            model,
            loaded.train,
            replace(self.preset.train, seed=seed),
            out / "checkpoints",
            loaded.validation,
            gauc_low,
        )
        save_state(model, out / "state.npz")
        record = asdict(result)
        if warning := collapse(mean_alpha_distill(record)):
            LOGGER.warning("%s, seed %d: %s", name, seed, warning)
        (out / "training.json").write_text(json.dumps(record, indent=1))


def periods(split: TimeSplit) -> tuple[Period, Period, Period]:
    """Training, validation and test as half-open spans of seconds."""
    train_s, validation_s, test_s, end_s = (
        epoch_s(moment)
        for moment in (split.train_start, split.validation_start, split.test_start, split.test_end)
    )
    return (
        Period("train", train_s, validation_s),
        Period("validation", validation_s, test_s),
        Period("test", test_s, end_s),
    )


def columns_of(schema: DatasetSchema) -> Columns:
    """What the model reads of a data set."""
    return Columns(
        discrete=schema.discrete,
        continuous=schema.continuous,
        categories=schema.categories,
        side=schema.side,
        clicks_count=not schema.clicks_are_sampled,
        profile_windows_days=schema.profile_windows_days,
    )


def clicks_of(
    tables: CanonicalTables, catalogue: Catalogue, period: Period, truth: Truth | None = None
) -> Clicks:
    """The clicks of one period, with their true probabilities where those are known."""
    clicks = tables.clicks()
    if truth:
        clicks = clicks.append_column(PROBABILITY, pa.array(truth.probabilities()))
    times = seconds(clicks["time"])
    inside = np.flatnonzero((times >= period.start_s) & (times < period.end_s))
    return Clicks.of(clicks.take(inside), tables.users()["user_id"], catalogue)


def window_purchases(tables: CanonicalTables, before_s: int) -> Ints:
    """int64 ``[N]``: each user's purchases in the activity window before a moment."""
    purchases = tables.purchases()
    users = positions(purchases["user_id"], tables.users()["user_id"])
    times = seconds(purchases["time"])
    since_s = before_s - ACTIVITY_WINDOW_DAYS * SECONDS_PER_DAY
    inside = (times >= since_s) & (times < before_s)
    return np.bincount(users[inside], minlength=len(tables.users())).astype(np.int64)


def open_histories(tables: CanonicalTables, spec: FeatureSpec) -> Histories:
    """The event logs of every user; sampled clicks say nothing of activity and stay out."""
    clicks = tables.clicks() if spec.clicks_count else None
    return Histories.build(spec, tables.users(), tables.purchases(), clicks, tables.searches())
