"""Embedding tables as plain arrays: from ids to the embedded rows that the graphs take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.array_file import map_array
from model.assembly import GroupArrays, Ids, UserArrays
from model.pause import Pause, no_pause
from model.spec import AGE_BUCKETS, FIRST_CODE, PAD, FeatureSpec

Floats = NDArray[np.float32]
Inputs = dict[str, Floats]

USER_INPUTS = ("user", "history", "history_mask")
_ROWS_AT_ONCE = 1 << 16
"""Of a table that is checked: a table may be larger than the memory left."""
GROUP_INPUTS = ("group_codes", "group_attributes", "group_sequence", "group_mask")


class MalformedTables(ValueError):
    """Tables whose shapes do not fit the feature spec."""


@dataclass(frozen=True, eq=False)
class Tables:
    """Every embedding table of one model version, float32, one row per code."""

    user: Floats
    """``[user_rows, user width]``."""
    attributes: tuple[Floats, ...]
    """Per attribute ``[values + 2, width]``; shared by both channels."""
    context: tuple[Floats, ...]
    """Per context field ``[values + 2, width]``."""
    item_tokens: Floats
    """``[I + 2, D]``: whole item tokens; row 1 is the token of an unknown item."""
    item_id_oov: Floats
    """``[item width]``: the id part of an item outside the catalogue."""
    item_fields: tuple[Floats, ...]
    """Per category level and side field ``[values + 2, width]``: tokens of new items."""
    ages: Floats
    """``[AGE_BUCKETS, D]``: added to a sequence's tokens."""
    group_codes: tuple[Floats, ...]
    """Per level ``[k + 1, d_e]``; row k = "no group"."""

    @property
    def token_width(self) -> int:
        """D."""
        return int(self.item_tokens.shape[1])

    def user_inputs(self, arrays: UserArrays) -> Inputs:
        """Embed the user side: ``user [R,U]``, ``history [R,L,D]``, ``history_mask [R,L]``."""
        parts = [
            self.user[arrays.user_row],
            *_rows(self.attributes, arrays.attributes),
            arrays.continuous,
            *_rows(self.context, arrays.context),
        ]
        return {
            "user": np.concatenate(parts, axis=1),
            "history": self._sequence(arrays.history_items, arrays.history_ages),
            "history_mask": (arrays.history_items != PAD).astype(np.float32),
        }

    def group_inputs(self, arrays: GroupArrays) -> Inputs:
        """Embed the group side; names and shapes as in docs/architecture.md."""
        return {
            "group_codes": np.stack(_rows(self.group_codes, arrays.codes), axis=1),
            "group_attributes": np.concatenate(
                [*_rows(self.attributes, arrays.attributes), arrays.continuous], axis=1
            ),
            "group_sequence": self._sequence(arrays.items, arrays.ages),
            "group_mask": (arrays.items != PAD).astype(np.float32),
        }

    def new_item_token(self, codes: NDArray[np.int32]) -> Floats:
        """Token ``[D]`` of an item outside the catalogue, from its record's codes."""
        fields = [table[code] for table, code in zip(self.item_fields, codes, strict=True)]
        return np.concatenate([self.item_id_oov, *fields])

    def _sequence(self, items_RL: Ids, ages_RL: Ids) -> Floats:
        tokens: Floats = self.item_tokens.take(items_RL, axis=0)
        tokens += self.ages.take(ages_RL, axis=0)
        return tokens

    def arrays(self) -> Mapping[str, Floats]:
        """The tables by file stem, as a bundle stores them."""
        return {
            "user": self.user,
            "item_tokens": self.item_tokens,
            "item_id_oov": self.item_id_oov,
            "ages": self.ages,
            **{f"attribute_{n}": table for n, table in enumerate(self.attributes)},
            **{f"context_{n}": table for n, table in enumerate(self.context)},
            **{f"item_field_{n}": table for n, table in enumerate(self.item_fields)},
            **{f"group_level_{n}": table for n, table in enumerate(self.group_codes)},
        }

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` per table into an existing folder."""
        for stem, table in self.arrays().items():
            np.save(folder / f"{stem}.npy", np.ascontiguousarray(table, np.float32))

    @classmethod
    def load(cls, folder: Path, spec: FeatureSpec, items: int, pause: Pause = no_pause) -> "Tables":
        """Map the tables of a bundle read-only and check every shape.

        Args:
            folder: the bundle's ``tables`` folder.
            spec: the bundle's feature spec.
            items: entries of the bundle's catalogue.
            pause: called after every table and every 65,536 rows.

        Raises:
            MalformedTables: when a table's shape or type is not what the spec asks for, or
                widths do not add up to the item token's.
            FileNotFoundError: when a table is missing.
        """

        def table(stem: str, rows: int) -> Floats:
            return _load(folder / f"{stem}.npy", (rows, None), pause)

        tables = cls(
            user=table("user", spec.user_rows),
            attributes=_load_all(table, "attribute", [f.size for f in spec.attributes]),
            context=_load_all(table, "context", [f.size for f in spec.context]),
            item_tokens=table("item_tokens", items + FIRST_CODE),
            item_id_oov=_load(folder / "item_id_oov.npy", (None,), pause),
            item_fields=_load_all(table, "item_field", [f.size for f in spec.item_fields]),
            ages=table("ages", AGE_BUCKETS),
            group_codes=_load_all(table, "group_level", [spec.codes_per_level + 1] * spec.levels),
        )
        tables._check_widths()
        return tables

    def _check_widths(self) -> None:
        """A token is its parts, ages are added to it, and the levels of a group id are stacked."""
        parts = [len(self.item_id_oov), *(table.shape[1] for table in self.item_fields)]
        if not sum(parts) == self.token_width == self.ages.shape[1]:
            raise MalformedTables(
                f"item_tokens.npy: width {self.token_width}; item_id_oov.npy and item_field_*.npy "
                f"are {parts} wide, ages.npy {self.ages.shape[1]}: export the bundle again"
            )
        if len({table.shape[1] for table in self.group_codes}) > 1:
            raise MalformedTables("group_level_*.npy: widths differ; export the bundle again")


def _rows(tables: Sequence[Floats], codes_RF: Ids) -> list[Floats]:
    """Each table's rows ``[R, width]``; for a single request they are views, made in no time."""
    if len(codes_RF) == 1:
        return [
            table[code : code + 1] for table, code in zip(tables, codes_RF[0].tolist(), strict=True)
        ]
    return [table[codes_RF[:, field]] for field, table in enumerate(tables)]


def _load(path: Path, shape: tuple[int | None, ...], pause: Pause) -> Floats:
    """Map a table; None in the shape is any size."""
    try:
        table: Floats = map_array(path)
    except ValueError as error:
        raise MalformedTables(f"{path.name}: {error}") from error
    fits = len(table.shape) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, table.shape, strict=True)
    )
    if table.dtype != np.float32 or not fits:
        wanted = ["any" if size is None else str(size) for size in shape]
        raise MalformedTables(
            f"{path.name}: {table.dtype} {table.shape}, expected float32 [{', '.join(wanted)}]; "
            "export the bundle again"
        )
    for start in range(0, len(table), _ROWS_AT_ONCE):
        if not np.isfinite(table[start : start + _ROWS_AT_ONCE]).all():
            raise MalformedTables(f"{path.name}: holds NaN or infinity; train and export again")
        pause()
    return table


def _load_all(table: "_Loader", stem: str, rows: Sequence[int]) -> tuple[Floats, ...]:
    return tuple(table(f"{stem}_{n}", size) for n, size in enumerate(rows))


_Loader = Callable[[str, int], Floats]
