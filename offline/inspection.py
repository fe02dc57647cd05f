"""Inspection: the group report of a product's cuts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.records import parse_prefix
from model.spec import SECONDS_PER_DAY
from offline.assignment import LevelDiagnostics
from offline.cuts import GROUP_SEED
from offline.drift import measure_drift
from offline.events import CanonicalTables
from offline.group_map import compare, number_groups
from offline.group_report.cards import Members, make_cards
from offline.group_report.content import Alike, Content, DriftOf, Stability
from offline.group_report.description import describe, description_provenance
from offline.group_report.measures import (
    concentration,
    consistency,
    occupancy,
    permuted,
)
from offline.grouped import GroupedUsers
from offline.groups import fit_groups
from offline.histories import epoch_s, positions, seconds
from offline.product import Product, ProductCut
from offline.sampling import window_purchases
from offline.scratch import scratch_folder
from offline.vectors import VectorFile
from offline.vocabulary import level_thresholds
from offline.writers.settings import WriterSettings

OTHER_SEEDS = (1, 2)
SAMPLED_USERS = 100_000
"""Users on which seeds and permuted energy are compared; more would change no figure."""

Ints = NDArray[np.int64]


def inspect_groups(
    product: Product, against: Path | None, describer: WriterSettings | None = None
) -> Content:
    """Gather everything that the group report of a product shows.

    Args:
        product: data set, preset and grouping; stages that are missing are built.
        against: a groups artefact of an earlier run to compare with; None leaves that out.
        describer: writes names and summaries of groups; None = the writer of the profiles.

    Returns:
        The report's content: groups as of the training cut, drift up to the serving cut.

    Raises:
        NotGroups: when ``against`` holds no groups.
        ValueError: when its groups have another number of levels, or none of these users.
        WriterFailed: when the describer cannot go on.
    """
    earlier = GroupedUsers.load(against) if against else None
    return _Inspection(product, describer or product.writer).content(earlier)


class _Inspection:
    """One product's training cut, read once."""

    def __init__(self, product: Product, describer: WriterSettings) -> None:
        self.product = product
        self.describer = describer
        self.cut = product.fitted_cut()
        self.profiles = product.profiles().folder / "profiles.parquet"
        self.tables = product.tables()
        self.grouped = GroupedUsers.load(self.cut.groups.folder)
        self.depths = np.load(self.cut.files().depths, allow_pickle=False)
        self.members = _members(self.tables, self.cut, self.grouped)

    def content(self, earlier: GroupedUsers | None) -> Content:
        schema, preset, grouped = self.tables.schema, self.product.preset, self.grouped
        groups = [self._numbers(depth) for depth in range(1, grouped.codebooks.levels + 1)]
        occupancies = [
            occupancy(group, depth, grouped.codebooks.codes_per_level, preset.n_min)
            for depth, group in enumerate(groups, start=1)
        ]
        served = _numbered(_served_prefixes(grouped.codes, self.depths), grouped.grouped)
        labels = [f"depth {depth}" for depth in range(1, len(groups) + 1)]
        attributes = (*schema.discrete, *schema.continuous)
        told = _profile_reader(self.profiles)
        cards = make_cards(self.members, self._sequences(), told, preset.n_min)
        return Content(
            dataset=schema.name,
            provenance=schema.provenance,
            preset=preset.name,
            grouping=self.product.grouping.name,
            cut=f"{schema.split.train_start:%Y-%m-%d %H:%M} UTC",
            profiles=_profile_writer(self.profiles),
            users=len(grouped.codes),
            grouped=int(grouped.grouped.sum()),
            n_min=preset.n_min,
            codes_per_level=grouped.codebooks.codes_per_level,
            levels=_level_diagnostics(self.cut),
            permuted_energy=self._permuted_energy(),
            occupancies=tuple(occupancies),
            alike=tuple(
                self._alike(label, group)
                for label, group in zip(
                    [*labels, "prefix whose prior is read"], [*groups, served], strict=True
                )
            ),
            stabilities=tuple(self._stabilities(earlier)),
            drifts=tuple(self._drifts()),
            cards=cards,
            descriptions=describe(cards, attributes, self.describer, _card_cache(self.product)),
            describer=_told(asdict(description_provenance(self.describer))),
            groups=sum(one.groups for one in occupancies),
        )

    def _numbers(self, depth: int) -> Ints:
        return _numbered(self.grouped.codes[:, :depth], self.grouped.grouped)

    def _alike(self, label: str, group: Ints) -> Alike:
        members = self.members
        control = permuted(group, members.activity_level)
        attributes = tuple(
            (name, consistency(group, values), consistency(control, values))
            for name, (values, _) in members.attributes.items()
        )
        return Alike(
            label=label,
            attributes=attributes,
            consistency=_mean([real for _, real, _ in attributes]),
            consistency_permuted=_mean([chance for _, _, chance in attributes]),
            concentration=concentration(group[members.buyer], members.category),
            concentration_permuted=concentration(control[members.buyer], members.category),
        )

    def _sample(self) -> Ints:
        """Positions of users that have a group, evenly spaced when there are very many."""
        rows = np.flatnonzero(self.grouped.grouped)
        return rows[:: -(-len(rows) // SAMPLED_USERS)]

    def _vectors(self, rows: Ints) -> NDArray[np.float32]:
        return VectorFile(self.cut.embeddings.folder / "embeddings.npy")[rows]

    def _permuted_energy(self) -> tuple[float, ...]:
        rows = self._sample()
        vectors, codes = self._vectors(rows), self.grouped.codes[rows]
        shuffled = codes[np.random.default_rng(0).permutation(len(rows))]
        whole = float(np.sum(np.square(vectors), dtype=np.float64))
        left = self.grouped.codebooks.residual_norms(vectors, shuffled).astype(np.float64)
        return tuple((np.sum(left**2, axis=0) / whole).tolist())

    def _stabilities(self, earlier: GroupedUsers | None) -> list[Stability]:
        rows = self._sample()
        reported = _part(self.grouped, rows)
        found = [
            Stability(f"seed {seed}", compare(self._refitted(seed, rows), reported))
            for seed in OTHER_SEEDS
        ]
        serving = GroupedUsers.load(self.product.served_cut().groups.folder)
        found.append(Stability("the cut that serves", compare(serving, self.grouped)))
        if earlier:
            found.append(Stability("the earlier run", compare(earlier, self.grouped)))
        return found

    def _refitted(self, seed: int, rows: Ints) -> GroupedUsers:
        """The same users by codebooks of another seed."""
        preset = self.product.preset
        vectors = VectorFile(self.cut.embeddings.folder / "embeddings.npy")
        with scratch_folder("seed") as scratch:
            codebooks = fit_groups(
                vectors, preset.levels, preset.codes_per_level, GROUP_SEED + seed, scratch
            )
        codes = codebooks.assign(self._vectors(rows))
        part = _part(self.grouped, rows)
        return GroupedUsers(part.keys, codes, part.norms, codebooks, part.reference)

    def _drifts(self) -> list[DriftOf]:
        serving = GroupedUsers.load(self.product.served_cut().groups.folder)
        return [
            _drift_of("the fitted cut", self.grouped, self.grouped),
            _drift_of("the cut that serves", self.grouped, serving),
        ]

    def _sequences(self) -> Mapping[tuple[int, ...], Sequence[str]]:
        """The sequences of the priors, as texts of their items."""
        items = self.tables.items()
        named = [text or leaf or "" for text, leaf in zip(
            items["text"].to_pylist(), items[self.tables.schema.categories[-1]].to_pylist(),
            strict=True)]  # fmt: skip
        texts = dict(zip(items["item_id"].to_pylist(), named, strict=True))
        priors = pq.read_table(self.cut.files().priors, columns=["prefix", "items"])
        return {
            parse_prefix(row["prefix"]): [texts[item] or item for item in row["items"]]
            for row in priors.to_pylist()
        }


def _members(tables: CanonicalTables, cut: ProductCut, grouped: GroupedUsers) -> Members:
    users, items, purchases = tables.users(), tables.items(), tables.purchases()
    schema, times = tables.schema, seconds(purchases["time"])
    used = (times >= epoch_s(schema.split.history_start)) & (times < cut.as_of_s)
    category, categories = _coded(items[schema.categories[-1]])
    item = positions(purchases["item_id"], items["item_id"])[used]
    bought = window_purchases(tables, cut.as_of_s)
    return Members(
        codes=grouped.codes,
        no_group=grouped.codebooks.codes_per_level,
        distance=grouped.norms[:, -1],
        activity_level=1 + np.searchsorted(level_thresholds(bought), bought, side="left"),
        attributes={name: _coded(users[name]) for name in schema.discrete},
        continuous={name: users[name].to_numpy().astype(float) for name in schema.continuous},
        buyer=positions(purchases["user_id"], users["user_id"])[used],
        category=category[item],
        categories=categories,
        window=_windows(cut.as_of_s - times[used], schema.profile_windows_days),
    )


def _windows(ages_s: Ints, ends_days: Sequence[float]) -> Ints:
    """Window of each purchase: 0 recent, 1 medium, 2 long, -1 older than them all."""
    place = np.searchsorted(np.array(ends_days) * SECONDS_PER_DAY, ages_s, side="left")
    return np.where(place < len(ends_days), place, -1)


def _coded(column: "pa.ChunkedArray[pa.StringScalar]") -> tuple[Ints, list[str]]:
    """Numbers of a column's values (-1 = missing), and the values, sorted."""
    encoded = column.combine_chunks().dictionary_encode()
    values = [str(value) for value in encoded.dictionary.to_pylist()]
    order = np.argsort(np.array(values, dtype=object))
    rank = np.empty(len(order) + 1, np.int64)
    rank[order], rank[-1] = np.arange(len(order)), -1
    numbers = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return rank[numbers], [values[place] for place in order]


def _numbered(codes: NDArray[np.int32], grouped: NDArray[np.bool_]) -> Ints:
    """int64 ``[N]``: numbers of the users' groups, -1 = none."""
    numbers = np.full(len(codes), -1, np.int64)
    numbers[grouped] = number_groups(codes[grouped])[1]
    return numbers


def _served_prefixes(codes: NDArray[np.int32], depths: Ints) -> NDArray[np.int32]:
    """Codes cut off below the prefix whose prior each user reads."""
    levels = np.arange(codes.shape[1])
    return np.where(levels < depths[:, None], codes, -1).astype(np.int32)


def _part(grouped: GroupedUsers, rows: Ints) -> GroupedUsers:
    return GroupedUsers(
        grouped.keys[rows],
        grouped.codes[rows],
        grouped.norms[rows],
        grouped.codebooks,
        grouped.reference,
    )


def _drift_of(label: str, fitted: GroupedUsers, now: GroupedUsers) -> DriftOf:
    known = now.norms[now.grouped]
    counts, _ = np.histogram(fitted.reference.confidence(known), bins=10, range=(0, 1))
    shares = tuple((counts / len(known)).tolist())
    return DriftOf(label, measure_drift(fitted.reference, known), shares)


def _level_diagnostics(cut: ProductCut) -> tuple[LevelDiagnostics, ...]:
    found = json.loads((cut.groups.folder / "diagnostics.json").read_text())
    return tuple(LevelDiagnostics(**level) for level in found["levels"])


def _card_cache(product: Product) -> Path:
    """Beside the artefacts, as the profiles' own: what was paid for outlives them."""
    return product.store.root.parent / "cache" / "cards"


def _profile_writer(profiles: Path) -> str:
    """Who wrote the profiles, and by which version of model, prompt and template."""
    metadata = pq.read_schema(profiles).metadata or {}
    return _told({name.decode(): text.decode() for name, text in metadata.items()})


def _told(provenance: Mapping[str, str]) -> str:
    names = ("writer", "model", "revision", "prompt", "template_version")
    return ", ".join(filter(None, (provenance.get(name) for name in names)))


def _profile_reader(profiles: Path) -> Callable[[int], Mapping[str, str]]:
    """The section texts of a user, by position; ids stay out of the report."""
    table = pq.read_table(profiles)
    names = [name for name in table.column_names if name.startswith("section_")]

    def read(user: int) -> Mapping[str, str]:
        (row,) = table.select(names).slice(user, 1).to_pylist()
        return {name.removeprefix("section_"): text or "" for name, text in row.items()}

    return read


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None
