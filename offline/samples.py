"""Samples: rows with their group priors, stored in two parts because rows outlive groupings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.assembly import Catalogue, GroupArrays, UserArrays, group_arrays
from model.network.batch import Split, SplitRows
from model.spec import FIRST_CODE, FeatureSpec
from offline.click_history import ClickLog
from offline.generations import GroupSide
from offline.histories import Histories, Ints
from offline.item_vectors import purchase_svd
from offline.rows import LeakingSample, concatenated

SPLITS = ("train", "validation", "test")
PANEL = "panel"
"""Further rows of the test period, where a data set has them."""


@dataclass(frozen=True, eq=False)
class BaseSamples:
    """What does not depend on groups: the same for every method on one data set."""

    spec: FeatureSpec
    """The fields; what it says of groups is a placeholder."""
    catalogue: Catalogue
    item_vectors: NDArray[np.float32]
    """float32 ``[I + 2, item width]``: where the item id rows begin."""
    item_purchases: Ints
    """int64 ``[I + 2]``: purchases before training, by catalogue row."""
    splits: Mapping[str, SplitRows]
    """By name: ``SPLITS``, and ``PANEL`` where there is one."""

    def save(self, folder: Path) -> None:
        """Write everything into an empty folder."""
        (folder / "spec.json").write_text(self.spec.to_json())
        np.save(folder / "item_keys.npy", self.catalogue.keys)
        np.save(folder / "item_codes.npy", self.catalogue.codes)
        np.save(folder / "item_vectors.npy", self.item_vectors)
        np.save(folder / "item_purchases.npy", self.item_purchases)
        for name, rows in self.splits.items():
            _save(folder / name, _columns(rows))

    @classmethod
    def load(cls, folder: Path) -> "BaseSamples":
        """Map what ``save`` wrote, read-only."""
        return cls(
            spec=FeatureSpec.from_json((folder / "spec.json").read_text()),
            catalogue=Catalogue(
                keys=np.load(folder / "item_keys.npy", allow_pickle=False),
                codes=np.load(folder / "item_codes.npy", allow_pickle=False),
            ),
            item_vectors=np.load(folder / "item_vectors.npy", allow_pickle=False),
            item_purchases=np.load(folder / "item_purchases.npy", allow_pickle=False),
            splits={
                name: SplitRows(**_load_rows(folder / name))
                for name in (*SPLITS, PANEL)
                if (folder / name).is_dir()
            },
        )


@dataclass(frozen=True, eq=False)
class Samples:
    """All that training and evaluation read."""

    spec: FeatureSpec
    catalogue: Catalogue
    item_vectors: NDArray[np.float32]
    """float32 ``[I + 2, item width]``: where the item id rows begin."""
    item_purchases: Ints
    """int64 ``[I + 2]``: purchases before training, by catalogue row."""
    train: Split
    validation: Split
    test: Split
    panel: Split | None = None
    """Further rows of the test period, where the data set has them (docs/simulator.md)."""

    @classmethod
    def load(cls, base: Path, grouped: Path) -> "Samples":
        """Map a base and what a grouping adds to it, read-only.

        Args:
            base: folder that ``BaseSamples.save`` wrote.
            grouped: folder that ``save_grouped`` wrote for it.
        """
        rows = BaseSamples.load(base)
        return cls(
            spec=FeatureSpec.from_json((grouped / "spec.json").read_text()),
            catalogue=rows.catalogue,
            item_vectors=rows.item_vectors,
            item_purchases=rows.item_purchases,
            **{name: _joined(part, grouped / name) for name, part in rows.splits.items()},
        )


def save_grouped(
    folder: Path, base: BaseSamples, spec: FeatureSpec, generations: Sequence[GroupSide]
) -> None:
    """Write what groups add to rows: the priors in use and each context's prior.

    Args:
        folder: an empty folder.
        base: the rows.
        spec: the feature spec with the grouping's levels and codes.
        generations: the group sides, any order; a row reads the latest cut at or before its time.

    Raises:
        LeakingSample: when a row precedes every generation.
    """
    for name, rows in base.splits.items():
        groups, index = group_side(spec, base.catalogue, generations, rows)
        columns = ((f"groups.{f.name}", getattr(groups, f.name)) for f in fields(GroupArrays))
        _save(folder / name, [*columns, ("group_index", index)])
    (folder / "spec.json").write_text(spec.to_json())


def group_side(
    spec: FeatureSpec, catalogue: Catalogue, generations: Sequence[GroupSide], rows: SplitRows
) -> tuple[GroupArrays, Ints]:
    """The distinct priors that rows read, and each context's index among them.

    Args:
        spec: the feature spec with the grouping's levels and codes.
        catalogue: the catalogue.
        generations: the group sides, any order.
        rows: the rows.

    Returns:
        G priors, and int64 ``[N_ctx]``.

    Raises:
        LeakingSample: when a row precedes every generation.
    """
    times = np.asarray(rows.context_time)
    cuts = np.array([side.as_of_s for side in generations])
    chosen = choose_generations(times, cuts)
    _check_cuts(times, cuts[chosen])
    prefixes = [_prefixes(side) for side in generations]
    users = np.asarray(rows.context_user).tolist()
    names = [
        (side, prefixes[side][user]) for side, user in zip(chosen.tolist(), users, strict=True)
    ]
    distinct = sorted(set(names))
    place = {name: position for position, name in enumerate(distinct)}
    arrays = [
        group_arrays(spec, catalogue, [generations[side].groups[prefix]], generations[side].as_of_s)
        for side, prefix in distinct
    ]
    index = np.array([place[name] for name in names], np.int64)
    return concatenated(arrays, GroupArrays), index


def choose_generations(times_s: Ints, cuts_s: Sequence[int] | Ints) -> Ints:
    """For each moment, the index of the latest cut at or before it.

    Raises:
        LeakingSample: when a moment precedes every cut.
    """
    order = np.argsort(cuts_s)
    place = np.searchsorted(np.asarray(cuts_s)[order], times_s, side="right") - 1
    if (place < 0).any():
        raise LeakingSample(
            f"a row at {int(times_s.min())} s precedes every generation (first cut "
            f"{min(cuts_s)} s); build a generation at or before the first training row"
        )
    return order[place].astype(np.int64)


def item_vectors(
    catalogue: Catalogue, histories: Histories, before_s: int, width: int
) -> NDArray[np.float32]:
    """Where the id rows of items begin: purchases before training, factorised.

    Args:
        catalogue: the catalogue.
        histories: the event logs.
        before_s: only purchases strictly before it count.
        width: of an id row.

    Returns:
        float32 ``[I + 2, width]``, as ``purchase_svd`` gives it.
    """
    log = histories.purchases
    users = np.repeat(np.arange(len(log.offsets) - 1), np.diff(log.offsets))
    early = log.times < before_s
    shape = (len(log.offsets) - 1, len(catalogue.keys) + FIRST_CODE)
    return purchase_svd(users[early], catalogue.rows(log.keys)[early], shape, width, seed=0)


def with_clicks(samples: Samples, length: int) -> Samples:
    """The samples with each context's last clicks and their outcomes.

    Args:
        samples: whose panel, where there is one, is no activity and in nobody's clicks.
        length: clicks at most.
    """
    log = ClickLog.of([getattr(samples, name) for name in SPLITS])
    names = SPLITS if samples.panel is None else (*SPLITS, PANEL)
    parts = {name: getattr(samples, name) for name in names}
    return replace(
        samples, **{n: replace(part, clicks=log.before(part, length)) for n, part in parts.items()}
    )


def _prefixes(side: GroupSide) -> list[tuple[int, ...]]:
    """Every user's prefix that has a prior."""
    rows = zip(side.codes.tolist(), side.depths.tolist(), strict=True)
    return [tuple(codes[:depth]) for codes, depth in rows]


def _check_cuts(times_s: Ints, cuts_s: Ints) -> None:
    late = np.flatnonzero(cuts_s > times_s)
    if len(late):
        row = late[0]
        raise LeakingSample(
            f"a generation cut at {cuts_s[row]} s for a row at {times_s[row]} s: expected one cut "
            "at or before it"
        )


def _joined(rows: SplitRows, folder: Path) -> Split:
    own = {f.name: getattr(rows, f.name) for f in fields(SplitRows)}
    groups = {f.name: _mapped(folder / f"groups.{f.name}.npy") for f in fields(GroupArrays)}
    index = _mapped(folder / "group_index.npy")
    return Split(**own, groups=GroupArrays(**groups), group_index=index)


def _load_rows(folder: Path) -> dict[str, Any]:
    users = {f.name: _mapped(folder / f"users.{f.name}.npy") for f in fields(UserArrays)}
    plain = {f.name: folder / f"{f.name}.npy" for f in fields(SplitRows)}
    found = {name: _mapped(path) for name, path in plain.items() if path.is_file()}
    return {**found, "users": UserArrays(**users)}


def _mapped(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _save(folder: Path, columns: Sequence[tuple[str, Any]] | Iterator[tuple[str, Any]]) -> None:
    folder.mkdir(parents=True)
    for name, array in columns:
        np.save(folder / f"{name}.npy", array)


def _columns(rows: SplitRows) -> Iterator[tuple[str, NDArray[Any]]]:
    for part in fields(SplitRows):
        value = getattr(rows, part.name)
        if is_dataclass(value):
            for column in fields(value):
                yield f"{part.name}.{column.name}", getattr(value, column.name)
        elif value is not None:
            yield part.name, value
