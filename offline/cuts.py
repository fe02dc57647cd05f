"""Cuts: the stages that make one generation's groups and priors, as of one moment."""

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime
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
from offline.groupings import group_shape
from offline.groups import fit_groups
from offline.histories import epoch_s, item_keys
from offline.presets import Preset
from offline.priors import Members, PriorSources, prefix_depths, write_priors
from offline.profiles import ProfileSources, write_profiles
from offline.vectors import VectorFile, evenly_spaced
from offline.writers.selection import open_writer, provenance
from offline.writers.settings import WriterSettings
from offline.writers.writer import TEMPLATE

GROUP_SEED = 0


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

    def build(self, moment: datetime, fitted: Cut | None = None) -> Cut:
        """Build, or find, the generation cut at a moment.

        Args:
            moment: only events strictly before its second count, since rows are told apart by
                seconds.
            fitted: an earlier cut whose encoder block and codebooks stay frozen; None fits both
                here.

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
            resumable=True,
        )
        groups = self.groups(embeddings, fitted)
        priors = self.priors(moment, groups)
        return Cut(epoch_s(moment), profiles, embeddings, groups, priors)

    def groups(self, embeddings: Artefact, fitted: Cut | None = None) -> Artefact:
        """Group ids of all users by their vectors.

        Args:
            embeddings: holds ``embeddings.npy``, users in the order of the users table.
            fitted: an earlier cut whose codebooks stay frozen.
        """
        return self.store.make(
            "groups",
            lambda out: self._group(embeddings, fitted, out),
            {"levels": self.preset.levels, "codes": self.preset.codes_per_level},
            inputs=(self.events, embeddings, *((fitted.groups,) if fitted else ())),
            code=("offline.groups", "offline.assignment", "offline.drift", "offline.histories"),
            resumable=True,
        )

    def priors(self, moment: datetime, groups: Artefact) -> Artefact:
        """The priors of groups, as of a cut, and how deep each user's prefix goes."""
        return self.store.make(
            "priors",
            lambda out: self._priors(moment, groups, out),
            {
                "cut": moment.isoformat(),
                "group_len": self.preset.group_len,
                "n_min": self.preset.n_min,
            },
            inputs=(self.events, groups),
        )

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

    def _group(self, embeddings: Artefact, fitted: Cut | None, out: Path) -> None:
        vectors = VectorFile(embeddings.folder / "embeddings.npy")
        preset, checkpoints = self.preset, out / "checkpoints"
        if fitted:
            codebooks = Codebooks.load(fitted.groups.folder)
        else:
            codebooks = fit_groups(
                vectors, preset.levels, preset.codes_per_level, GROUP_SEED, checkpoints
            )
        codebooks.save(out)
        users = CanonicalTables.open(self.events.folder).users()
        np.save(out / USERS, item_keys(users["user_id"]))
        diagnostics = [asdict(level) for level in assign_all(vectors, codebooks, out)]
        norms = evenly_spaced(np.load(out / NORMS, mmap_mode="r", allow_pickle=False))
        if fitted:
            reference = ResidualReference.load(fitted.groups.folder)
        else:
            reference = ResidualReference.of(norms)
        reference.save(out)
        found = {"levels": diagnostics, "drift": asdict(measure_drift(reference, norms))}
        (out / "diagnostics.json").write_text(json.dumps(found, indent=1))
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
    if settings.writer == TEMPLATE:
        return ()
    return ("offline.writers.chat", "offline.writers.digest")


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
