"""Generations: the group side of one cut, read back from its stages as records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.records import GroupRecord, parse_prefix
from model.spec import FeatureSpec
from offline.histories import item_keys


@dataclass(frozen=True)
class GenerationFiles:
    """Where the stages of one cut left their results."""

    as_of_s: int
    """The cut, seconds since the epoch."""
    codes: Path
    """``codes.npy``: int32 ``[N, M]``, users in the order of the users table."""
    priors: Path
    """``priors.parquet``: a row per prefix group."""
    depths: Path
    """``depths.npy``: int64 ``[N]``: the deepest prefix with ``n_min`` members, per user."""


@dataclass(frozen=True, eq=False)
class GroupSide:
    """Every user's group and every prior that may serve, as of one cut."""

    as_of_s: int
    codes: NDArray[np.int32]
    """int32 ``[N, M]``; k = no group."""
    depths: NDArray[np.int64]
    """int64 ``[N]``: the deepest prefix with a prior; 0 = the global one."""
    groups: Mapping[tuple[int, ...], GroupRecord]
    """Priors by prefix: at least ``n_min`` members, or shorter than two levels."""

    @classmethod
    def load(cls, files: GenerationFiles, spec: FeatureSpec) -> "GroupSide":
        """Read a cut's codes and priors."""
        return cls(
            as_of_s=files.as_of_s,
            codes=np.load(files.codes, allow_pickle=False),
            depths=np.load(files.depths, allow_pickle=False),
            groups=_group_records(pq.read_table(files.priors), spec, files.as_of_s),
        )


def _group_records(
    priors: pa.Table, spec: FeatureSpec, as_of_s: int
) -> Mapping[tuple[int, ...], GroupRecord]:
    served = [
        _group_record(row, spec, as_of_s)
        for row in priors.to_pylist()
        if row["depth"] < 2 or row["size"] >= spec.n_min
    ]
    return {record.prefix: record for record in served}


def _group_record(row: Mapping[str, Any], spec: FeatureSpec, as_of_s: int) -> GroupRecord:
    values = [row[field.name] for field in spec.continuous]
    items = pa.chunked_array([pa.array(row["items"], pa.string())])
    return GroupRecord(
        prefix=parse_prefix(row["prefix"]),
        written_at_s=as_of_s,
        attributes=np.array([f.code(row[f.name]) for f in spec.attributes], np.int32),
        continuous=np.array([np.nan if v is None else v for v in values], np.float32),
        items=item_keys(items),
        times=np.array(row["times"], np.int64),
        size=row["size"],
    )
