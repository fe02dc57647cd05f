"""Point-in-time samples: every row of a period as the service would have seen it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.assembly import Catalogue, GroupArrays, UserArrays, group_arrays, user_arrays
from model.network.batch import Split
from model.records import UserRecord
from model.spec import FIRST_CODE, SECONDS_PER_DAY, FeatureSpec, hour_and_weekday
from offline.generations import GroupSide
from offline.histories import Column, Histories, Ints, positions, seconds
from offline.item_vectors import purchase_svd
from offline.progress import track
from offline.vocabulary import LOW_ACTIVITY_SHARE

BLOCK = 4096
SPLITS = ("train", "validation", "test")


class LeakingSample(ValueError):
    """A sample would have seen its own future."""


@dataclass(frozen=True)
class Period:
    """The rows of one split: those whose time lies in ``[start_s, end_s)``."""

    name: str
    start_s: int
    end_s: int


@dataclass(frozen=True, eq=False)
class Clicks:
    """Clicks (or exposures) with outcome, one context per request."""

    context_user: Ints
    """int64 ``[contexts]``: position in the users table."""
    context_time: Ints
    """int64 ``[contexts]``, seconds."""
    row_context: Ints
    """int64 ``[rows]``."""
    row_item: Ints
    """int64 ``[rows]`` catalogue rows."""
    label: NDArray[np.float32]
    """float32 ``[rows]``."""

    @classmethod
    def of(cls, clicks: pa.Table, user_ids: Column, rows_of: Ints) -> "Clicks":
        """From canonical clicks of one period.

        Args:
            clicks: the rows.
            user_ids: the users table's ids.
            rows_of: int64 catalogue row of each click.
        """
        requests: Any = clicks["request_id"].combine_chunks().dictionary_encode()
        row_context = np.asarray(requests.indices, np.int64)
        first = np.full(len(requests.dictionary), len(clicks), np.int64)
        np.minimum.at(first, row_context, np.arange(len(clicks)))
        return cls(
            context_user=positions(clicks["user_id"], user_ids)[first],
            context_time=seconds(clicks["time"])[first],
            row_context=row_context,
            row_item=rows_of,
            label=np.asarray(clicks["label"], np.float32),
        )


def build_split(
    spec: FeatureSpec,
    catalogue: Catalogue,
    histories: Histories,
    generations: Sequence[GroupSide],
    clicks: Clicks,
    period: Period,
) -> Split:
    """Assemble the rows of one period, each as of its own moment.

    Args:
        spec: the feature spec.
        catalogue: the catalogue.
        histories: what was known of every user when.
        generations: the group sides, any order; a row reads the latest cut at or before its time.
        clicks: the rows.
        period: whose start decides the evaluation segments.

    Returns:
        The split, assembled by the code that serves.

    Raises:
        LeakingSample: when a record holds an event as late as its row, or a row precedes every
            generation.
    """
    chosen = choose_generations(clicks.context_time, [side.as_of_s for side in generations])
    records = [
        _record(spec, histories, generations[side], user, moment)
        for user, moment, side in zip(
            clicks.context_user.tolist(), clicks.context_time.tolist(), chosen.tolist(), strict=True
        )
    ]
    groups, index = _groups(spec, catalogue, generations, records, chosen)
    low, level = segments(histories, period.start_s, clicks.context_user)
    row_user = clicks.context_user[clicks.row_context]
    return Split(
        users=_users(spec, catalogue, records, clicks.context_time, period.name),
        groups=groups,
        group_index=index,
        row_context=clicks.row_context,
        row_item=clicks.row_item,
        label=clicks.label,
        row_user=row_user,
        row_level=level[row_user],
        row_low=low[row_user],
    )


def choose_generations(times_s: Ints, cuts_s: Sequence[int]) -> Ints:
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


def check_point_in_time(record: UserRecord, moment_s: int, cut_s: int) -> None:
    """Refuse a record that knows its row's own future.

    Args:
        record: the user's record for a row.
        moment_s: the row's time.
        cut_s: the cut of the generation the row reads.

    Raises:
        LeakingSample: when the record or the cut is of a later moment than the row, or a purchase
            is as late as the row or counted in the window alone.
    """
    if record.written_at_s > moment_s or record.window_purchases > record.purchases:
        raise LeakingSample(
            f"user {record.user_id!r}: a record of {record.written_at_s} s with "
            f"{record.window_purchases} of {record.purchases} purchases in its window, for a row "
            f"at {moment_s} s"
        )
    if len(record.purchase_times) and int(record.purchase_times.max()) >= moment_s:
        raise LeakingSample(
            f"user {record.user_id!r}: a purchase at {int(record.purchase_times.max())} s in the "
            f"history of a row at {moment_s} s"
        )
    if cut_s > moment_s:
        raise LeakingSample(
            f"user {record.user_id!r}: a generation cut at {cut_s} s for a row at {moment_s} s"
        )


def segments(
    histories: Histories, start_s: int, users_with_rows: Ints
) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    """Evaluation segments as of a period's start (docs/evaluation.md).

    Args:
        histories: the event logs.
        start_s: the period's start.
        users_with_rows: positions of the users that have rows, repeats allowed.

    Returns:
        bool ``[N]``: the bottom 55 % of all users by purchases in the 28 days before, ties by
        sha256 of the id; and int8 ``[N]``: quintiles 1 to 5 of the users with rows by the same
        order (0 for the others).
    """
    since_s = start_s - 28 * SECONDS_PER_DAY
    purchases = histories.purchases.counts(since_s, start_s)
    clicks = histories.clicks.counts(since_s, start_s)
    hashes = np.array([sha256(user.encode()).hexdigest() for user in histories.user_ids])
    by_purchases = np.lexsort((hashes, purchases))
    low = np.zeros(len(purchases), bool)
    low[by_purchases[: round(LOW_ACTIVITY_SHARE * len(purchases))]] = True
    present = np.zeros(len(purchases), bool)
    present[users_with_rows] = True
    by_level = np.lexsort((hashes, clicks, purchases))
    ranked = by_level[present[by_level]]
    level = np.zeros(len(purchases), np.int8)
    level[ranked] = 1 + np.arange(len(ranked)) * 5 // max(len(ranked), 1)
    return low, level


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


@dataclass(frozen=True, eq=False)
class Samples:
    """All that training and evaluation read."""

    spec: FeatureSpec
    catalogue: Catalogue
    item_vectors: NDArray[np.float32]
    """float32 ``[I + 2, item width]``: where the item id rows begin."""
    train: Split
    validation: Split
    test: Split

    def save(self, folder: Path) -> None:
        """Write everything into an empty folder."""
        (folder / "spec.json").write_text(self.spec.to_json())
        np.save(folder / "item_keys.npy", self.catalogue.keys)
        np.save(folder / "item_codes.npy", self.catalogue.codes)
        np.save(folder / "item_vectors.npy", self.item_vectors)
        for name in SPLITS:
            save_split(folder / name, getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "Samples":
        """Map what ``save`` wrote, read-only."""
        return cls(
            spec=FeatureSpec.from_json((folder / "spec.json").read_text()),
            catalogue=Catalogue(
                keys=np.load(folder / "item_keys.npy", allow_pickle=False),
                codes=np.load(folder / "item_codes.npy", allow_pickle=False),
            ),
            item_vectors=np.load(folder / "item_vectors.npy", allow_pickle=False),
            train=load_split(folder / "train"),
            validation=load_split(folder / "validation"),
            test=load_split(folder / "test"),
        )


def save_split(folder: Path, split: Split) -> None:
    """Write a split as one ``.npy`` per array."""
    folder.mkdir(parents=True)
    for name, array in _columns(split):
        np.save(folder / f"{name}.npy", array)


def load_split(folder: Path) -> Split:
    """Map what ``save_split`` wrote, read-only."""

    def column(name: str) -> Any:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    users = {f.name: column(f"users.{f.name}") for f in fields(UserArrays)}
    groups = {f.name: column(f"groups.{f.name}") for f in fields(GroupArrays)}
    own = {f.name: column(f.name) for f in fields(Split) if f.name not in ("users", "groups")}
    return Split(users=UserArrays(**users), groups=GroupArrays(**groups), **own)


def _columns(split: Split) -> Iterator[tuple[str, NDArray[Any]]]:
    for part in fields(split):
        value = getattr(split, part.name)
        if isinstance(value, UserArrays | GroupArrays):
            for column in fields(value):
                yield f"{part.name}.{column.name}", getattr(value, column.name)
        else:
            yield part.name, value


def _record(
    spec: FeatureSpec, histories: Histories, side: GroupSide, user: int, moment_s: int
) -> UserRecord:
    record = histories.record(spec, user, moment_s, side.codes[user], int(side.depths[user]))
    check_point_in_time(record, moment_s, side.as_of_s)
    return record


def _users(
    spec: FeatureSpec,
    catalogue: Catalogue,
    records: Sequence[UserRecord],
    times_s: Ints,
    label: str,
) -> UserArrays:
    context = hour_and_weekday(times_s)
    blocks = [
        user_arrays(
            spec,
            catalogue,
            records[begin : begin + BLOCK],
            times_s[begin : begin + BLOCK].tolist(),
            context[begin : begin + BLOCK],
        )
        for begin in track(range(0, len(records), BLOCK), f"assembling {label}")
    ]
    columns = {
        f.name: np.concatenate([getattr(block, f.name) for block in blocks])
        for f in fields(UserArrays)
    }
    return UserArrays(**columns)


def _groups(
    spec: FeatureSpec,
    catalogue: Catalogue,
    generations: Sequence[GroupSide],
    records: Sequence[UserRecord],
    chosen: Ints,
) -> tuple[GroupArrays, Ints]:
    """The distinct priors in use, and each context's index among them."""
    names = [(int(side), record.prefix) for side, record in zip(chosen, records, strict=True)]
    distinct = sorted(set(names))
    place = {name: position for position, name in enumerate(distinct)}
    arrays = [
        group_arrays(spec, catalogue, [generations[side].groups[prefix]], generations[side].as_of_s)
        for side, prefix in distinct
    ]
    columns = {
        f.name: np.concatenate([getattr(array, f.name) for array in arrays])
        for f in fields(GroupArrays)
    }
    return GroupArrays(**columns), np.array([place[name] for name in names], np.int64)
