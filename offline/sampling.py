"""Sampling: from canonical tables to the rows of every split."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.assembly import Catalogue
from model.spec import SECONDS_PER_DAY, FeatureSpec
from offline.events import CanonicalTables, DatasetSchema
from offline.events import Split as TimeSplit
from offline.generations import GenerationFiles, GroupSide
from offline.groupings import group_shape
from offline.histories import Histories, Ints, epoch_s, positions, seconds
from offline.item_slices import item_purchases
from offline.presets import Preset
from offline.rows import PROBABILITY, Clicks, Period, build_rows
from offline.samples import PANEL, BaseSamples, item_vectors, save_grouped
from offline.truth import Truth
from offline.vocabulary import (
    ACTIVITY_WINDOW_DAYS,
    Columns,
    Sizes,
    build_catalogue,
    build_spec,
)


def build_base(tables: CanonicalTables, preset: Preset) -> BaseSamples:
    """The rows of all splits, and of the panel where the data set has one.

    Args:
        tables: the canonical tables.
        preset: lengths of sequences and width of item rows.

    Returns:
        Everything that groups do not change.
    """
    split, users = tables.schema.split, tables.users()
    start_s = epoch_s(split.train_start)
    spec = base_spec(tables, preset)
    catalogue = build_catalogue(spec, tables.items())
    histories = open_histories(tables, spec)
    truth = Truth.beside(tables.folder)
    low = truth.low_activity(users) if truth else None
    parts = [(period, clicks_of(tables, catalogue, period, truth)) for period in periods(split)]
    if truth:
        test = periods(split)[-1]
        panel = Clicks.of(truth.panel(), users["user_id"], catalogue)
        parts.append((Period(PANEL, test.start_s, test.end_s), panel))
    return BaseSamples(
        spec=spec,
        catalogue=catalogue,
        item_vectors=item_vectors(catalogue, histories, start_s, preset.network.item_dim),
        item_purchases=item_purchases(catalogue, histories, start_s),
        splits={
            period.name: build_rows(spec, catalogue, histories, clicks, period, low)
            for period, clicks in parts
        },
    )


def base_builder(tables: CanonicalTables, preset: Preset) -> Callable[[Path], None]:
    """What writes the rows of all splits into a folder."""
    return lambda out: build_base(tables, preset).save(out)


def grouped_builder(
    base: Path, groups: Path, files: GenerationFiles, n_min: int
) -> Callable[[Path], None]:
    """What writes the part of the samples that a grouping adds.

    Args:
        base: folder of the rows.
        groups: folder of the groups.
        files: the generation that rows read.
        n_min: members a prefix group needs for a prior of its own.
    """

    def build(out: Path) -> None:
        rows = BaseSamples.load(base)
        levels, codes = group_shape(groups)
        spec = replace(rows.spec, levels=levels, codes_per_level=codes, n_min=n_min)
        save_grouped(out, rows, spec, [GroupSide.load(files, spec)])

    return build


def base_spec(tables: CanonicalTables, preset: Preset) -> FeatureSpec:
    """The feature spec but for groups: a grouping puts in its own levels and codes."""
    start_s = epoch_s(tables.schema.split.train_start)
    sizes = Sizes(
        history_len=preset.history_len,
        group_len=preset.group_len,
        levels=preset.levels,
        codes_per_level=1,
        n_min=preset.n_min,
    )
    bought = window_purchases(tables, start_s)
    return build_spec(tables.users(), tables.items(), columns_of(tables.schema), bought, sizes)


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
