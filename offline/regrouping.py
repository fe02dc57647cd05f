"""Regrouping: the groups of every grouping, from the same stages and the same cut."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from offline.artefacts import Artefact
from offline.cuts import Cuts
from offline.events import CanonicalTables
from offline.generations import GenerationFiles
from offline.groupings import (
    ARCHETYPE_CODES,
    Grouping,
    archetype_codes,
    group_shape,
    no_groups,
    permuted,
    save_codes,
)
from offline.histories import epoch_s
from offline.rules import ConfigError
from offline.segments import activity_levels
from offline.truth import Truth


@dataclass(frozen=True)
class Grouped:
    """A generation of any grouping, for evaluation: codes and priors as of one moment."""

    as_of_s: int
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


def regroup(
    cuts: Cuts, moment: datetime, grouping: Grouping, vectors: Artefact | None = None
) -> Grouped:
    """Build, or find, what a grouping makes of the users as of a cut.

    Args:
        cuts: the stages.
        moment: the cut.
        grouping: how users get their groups.
        vectors: holds ``embeddings.npy`` where neither profiles nor the truth decide.

    Returns:
        The grouping's generation.

    Raises:
        ConfigError: when the grouping needs a truth that the data set has not.
    """
    sized = Cuts(
        cuts.store,
        cuts.events,
        replace(
            cuts.preset, codes_per_level=grouping.codes_per_level or cuts.preset.codes_per_level
        ),
        cuts.writer,
        cuts.encoder,
    )
    groups = _permuted(sized, moment, grouping, _unpermuted(sized, moment, grouping, vectors))
    return Grouped(epoch_s(moment), groups, sized.priors(moment, groups))


def _unpermuted(
    cuts: Cuts, moment: datetime, grouping: Grouping, vectors: Artefact | None
) -> Artefact:
    if vectors is not None:
        return cuts.groups(vectors)
    if grouping.kind == "profiles":
        return cuts.build(moment).groups
    return cuts.store.make(
        "plain_groups",
        lambda out: _write_plain(cuts.events, grouping, out),
        {"kind": grouping.kind},
        inputs=(cuts.events,),
        code=("offline.groupings", "offline.truth"),
    )


def _permuted(cuts: Cuts, moment: datetime, grouping: Grouping, groups: Artefact) -> Artefact:
    seed = grouping.permutation
    if seed is None:
        return groups
    return cuts.store.make(
        "permuted_groups",
        lambda out: _write_permuted(cuts.events, groups, epoch_s(moment), seed, out),
        {"cut": moment.isoformat(), "permutation": seed},
        inputs=(cuts.events, groups),
        code=("offline.groupings", "offline.segments"),
    )


def _write_plain(events: Artefact, grouping: Grouping, out: Path) -> None:
    tables = CanonicalTables.open(events.folder)
    users = tables.users()
    if grouping.kind == "none":
        return save_codes(out, no_groups(len(users)), 1)
    truth = Truth.beside(events.folder)
    if truth is None:
        raise ConfigError(
            f"grouping {grouping.kind!r} needs the truth of a simulated data set; "
            f"{tables.schema.name!r} has none"
        )
    oracle = grouping.kind == "oracle"
    found = truth.archetypes(users) if oracle else truth.likeliest_archetypes(tables)
    save_codes(out, archetype_codes(found), ARCHETYPE_CODES)
    return None


def _write_permuted(events: Artefact, groups: Artefact, cut_s: int, seed: int, out: Path) -> None:
    codes = np.load(groups.folder / "codes.npy", allow_pickle=False)
    level = activity_levels(CanonicalTables.open(events.folder), cut_s)
    save_codes(out, permuted(codes, level, seed), group_shape(groups.folder)[1])
