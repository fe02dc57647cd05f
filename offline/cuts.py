"""Cuts: the stages that make one generation's groups and priors, as of one moment."""

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from model.codebooks import Codebooks
from model.encoder import EncoderBlock
from model.residuals import ResidualReference
from offline.artefacts import Artefact, Store
from offline.assignment import NORMS, assign_all
from offline.drift import measure_drift
from offline.embeddings import write_embeddings
from offline.encoders import EncoderChoice
from offline.engine import Engine, connect
from offline.events import CanonicalTables
from offline.generations import GenerationFiles
from offline.grouped import USERS
from offline.groupings import (
    ARCHETYPE_CODES,
    PROFILES,
    Grouping,
    archetype_codes,
    group_shape,
    permuted,
    save_codes,
)
from offline.groups import fit_groups
from offline.histories import item_keys
from offline.presets import Preset
from offline.priors import Members, PriorSources, prefix_depths, write_priors
from offline.profiles import ProfileSources, write_profiles
from offline.rules import ConfigError
from offline.segments import activity_levels
from offline.truth import Truth
from offline.vectors import VectorFile, evenly_spaced
from offline.writers.selection import open_writer, provenance
from offline.writers.settings import WriterSettings
from offline.writers.writer import TEMPLATE

GROUP_SEED = 0


def epoch_s(moment: datetime) -> int:
    """Seconds since the epoch of a moment in UTC without a zone."""
    return int(moment.replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class Cut:
    """The artefacts of one generation: groups and priors as of one moment."""

    as_of_s: int
    profiles: Artefact
    embeddings: Artefact
    groups: Artefact
    priors: Artefact

    def files(self) -> GenerationFiles:
        """Where codes, depths and priors lie."""
        return GenerationFiles(
            as_of_s=self.as_of_s,
            codes=self.groups.folder / "codes.npy",
            priors=self.priors.folder / "priors.parquet",
            depths=self.priors.folder / "depths.npy",
        )


class Cuts:
    """Builds generations of one data set."""

    def __init__(
        self,
        store: Store,
        events: Artefact,
        preset: Preset,
        writer: WriterSettings | None = None,
        encoder: EncoderChoice | None = None,
    ) -> None:
        self.store = store
        self.events = events
        self.preset = preset
        self.writer = writer or WriterSettings()
        self.encoder = encoder or EncoderChoice()

    def build(
        self, moment: datetime, fitted: Cut | None = None, grouping: Grouping = PROFILES
    ) -> Cut:
        """Build, or find, the generation cut at a moment.

        Args:
            moment: only events strictly before its second count, since rows are told apart by
                seconds.
            fitted: an earlier cut whose encoder block and codebooks stay frozen; None fits both
                here.
            grouping: how users get their groups.

        Returns:
            The cut's artefacts.
        """
        moment = moment.replace(microsecond=0)
        cut = {"cut": moment.isoformat()}
        profiles = self.store.make(
            "profiles",
            lambda out: self._profiles(moment, out),
            cut | _written_by(self.writer),
            inputs=(self.events,),
            code=("offline.profiles", *_writer_code(self.writer)),
        )
        frozen = (fitted.embeddings, fitted.groups) if fitted else ()
        embeddings = self.store.make(
            "embeddings",
            lambda out: self._embed(profiles, fitted, out),
            {"encoder": self.encoder.decides},
            inputs=(profiles, *frozen[:1]),
            code=("offline.embeddings", *self.encoder.code),
        )
        groups = self.store.make(
            "groups",
            lambda out: self._group(profiles, embeddings, fitted, out),
            {"levels": self.preset.levels, "codes": self.preset.codes_per_level},
            inputs=(embeddings, *frozen[1:]),
            code=("offline.groups", "offline.assignment", "offline.drift", "offline.histories"),
            resumable=True,
        )
        groups = self._regrouped(moment, groups, grouping)
        priors = self.store.make(
            "priors",
            lambda out: self._priors(moment, groups, out),
            cut | {"group_len": self.preset.group_len, "n_min": self.preset.n_min},
            inputs=(self.events, groups),
        )
        return Cut(epoch_s(moment), profiles, embeddings, groups, priors)

    def _regrouped(self, moment: datetime, groups: Artefact, grouping: Grouping) -> Artefact:
        """The groups of a grouping that profiles alone do not give."""
        if grouping.simulated_only:
            groups = self.store.make(
                "true_groups",
                lambda out: self._true_groups(grouping, out),
                {"kind": grouping.kind},
                inputs=(self.events,),
                code=("offline.groupings", "offline.truth"),
            )
        if grouping.permutation is None:
            return groups
        return self.store.make(
            "permuted_groups",
            lambda out: self._permute(moment, groups, grouping.permutation or 0, out),
            {"cut": moment.isoformat(), "permutation": grouping.permutation},
            inputs=(self.events, groups),
            code=("offline.groupings", "offline.segments"),
        )

    def _true_groups(self, grouping: Grouping, out: Path) -> None:
        tables = CanonicalTables.open(self.events.folder)
        truth = Truth.beside(tables.folder)
        if truth is None:
            raise ConfigError(
                f"grouping {grouping.kind!r} needs the truth of a simulated data set; "
                f"{tables.schema.name!r} has none"
            )
        oracle = grouping.kind == "oracle"
        archetypes = (
            truth.archetypes(tables.users()) if oracle else truth.likeliest_archetypes(tables)
        )
        save_codes(out, archetype_codes(archetypes), ARCHETYPE_CODES)

    def _permute(self, moment: datetime, groups: Artefact, seed: int, out: Path) -> None:
        tables = CanonicalTables.open(self.events.folder)
        codes = np.load(groups.folder / "codes.npy", allow_pickle=False)
        level = activity_levels(tables, epoch_s(moment))
        save_codes(out, permuted(codes, level, seed), group_shape(groups.folder)[1])

    def _profiles(self, moment: datetime, out: Path) -> None:
        tables = CanonicalTables.open(self.events.folder)
        schema = tables.schema
        with connect() as engine:
            sources = ProfileSources(
                users=engine.read_parquet(tables.path("users")),
                items=engine.read_parquet(tables.path("items")),
                purchases=engine.read_parquet(tables.path("purchases")),
                searches=engine.read_parquet(tables.path("searches")),
                discrete=schema.discrete,
                continuous=schema.continuous,
                categories=schema.categories,
                windows_days=schema.profile_windows_days,
                history_start=schema.split.history_start,
            )
            # Beside the artefacts: what was paid for outlives them.
            with open_writer(self.writer, self.store.root.parent / "cache" / "profiles") as writer:
                write_profiles(engine, sources, moment, out, writer)

    def _embed(self, profiles: Artefact, fitted: Cut | None, out: Path) -> None:
        block = EncoderBlock.load(fitted.embeddings.folder) if fitted else None
        table = pq.read_table(profiles.folder / "profiles.parquet")
        write_embeddings(table, self.encoder.open(self.store), out, block)

    def _group(
        self, profiles: Artefact, embeddings: Artefact, fitted: Cut | None, out: Path
    ) -> None:
        vectors = VectorFile(embeddings.folder / "embeddings.npy")
        preset, checkpoints = self.preset, out / "checkpoints"
        if fitted:
            codebooks = Codebooks.load(fitted.groups.folder)
        else:
            codebooks = fit_groups(
                vectors, preset.levels, preset.codes_per_level, GROUP_SEED, checkpoints
            )
        codebooks.save(out)
        diagnostics = [asdict(level) for level in assign_all(vectors, codebooks, out)]
        norms = evenly_spaced(np.load(out / NORMS, mmap_mode="r", allow_pickle=False))
        if fitted:
            reference = ResidualReference.load(fitted.groups.folder)
        else:
            reference = ResidualReference.of(norms)
        reference.save(out)
        found = {"levels": diagnostics, "drift": asdict(measure_drift(reference, norms))}
        (out / "diagnostics.json").write_text(json.dumps(found, indent=1))
        ids = pq.read_table(profiles.folder / "profiles.parquet", columns=["user_id"])["user_id"]
        np.save(out / USERS, item_keys(ids))
        shutil.rmtree(checkpoints, ignore_errors=True)

    def _priors(self, moment: datetime, groups: Artefact, out: Path) -> None:
        codes = np.load(groups.folder / "codes.npy", allow_pickle=False)
        _, no_group = group_shape(groups.folder)
        tables = CanonicalTables.open(self.events.folder)
        user_ids = [str(user_id) for user_id in tables.users()["user_id"].to_pylist()]
        with connect() as engine:
            write_priors(
                engine,
                _prior_sources(engine, tables),
                Members(user_ids, codes, no_group),
                moment,
                self.preset.group_len,
                out / "priors.parquet",
            )
        np.save(out / "depths.npy", prefix_depths(codes, self.preset.n_min, no_group))


def _written_by(settings: WriterSettings) -> dict[str, Any]:
    """What profiles depend on besides facts; how hard an endpoint is asked is not part of it."""
    return {"writer": asdict(provenance(settings)), "told": settings.attributes}


def _writer_code(settings: WriterSettings) -> tuple[str, ...]:
    return () if settings.writer == TEMPLATE else ("offline.writers.chat",)


def _prior_sources(engine: Engine, tables: CanonicalTables) -> PriorSources:
    schema = tables.schema
    return PriorSources(
        users=engine.read_parquet(tables.path("users")),
        items=engine.read_parquet(tables.path("items")),
        purchases=engine.read_parquet(tables.path("purchases")),
        discrete=schema.discrete,
        continuous=schema.continuous,
        leaf=schema.categories[-1],
        history_start=schema.split.history_start,
    )
