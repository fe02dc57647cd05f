"""The spill: rows that wait on disk, bucket by bucket, until they can be sorted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from offline.engine import ROW_GROUP_ROWS

USER_BITS, PLACE_BITS = 24, 20
MOST_USERS = 2**USER_BITS
KEY = ("key", "<u8")

Records = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


class Spill:
    """Records in buckets of time; within a bucket they come back sorted, whatever came first."""

    def __init__(self, folder: Path, start_s: int, bucket_s: int, columns: npt.DTypeLike) -> None:
        """Make the spill.

        Args:
            folder: an empty folder, or one to be made, that nobody else uses.
            start_s: no record is earlier, in seconds since day 0.
            bucket_s: length of a bucket in seconds, below 2**19
            columns: the dtype of a record's columns; ``key`` is added.
        """
        folder.mkdir(parents=True)
        self.dtype = np.dtype([KEY, *np.dtype(columns).descr])
        self._folder = folder
        self._start_s = start_s
        self._bucket_s = bucket_s

    def add(self, time_s: Ints, user: Ints, place: Ints, **columns: npt.NDArray[Any]) -> None:
        """Add records.

        Args:
            time_s: int64 ``[N]``, seconds since day 0.
            user: int64 ``[N]``, the user's number.
            place: int64 ``[N]``, what orders records of one user and second.
            columns: the record's columns, ``[N]`` each.
        """
        bucket, inside_s = np.divmod(time_s - self._start_s, self._bucket_s)
        key = inside_s << (USER_BITS + PLACE_BITS) | user << PLACE_BITS | place
        records = np.empty(len(time_s), self.dtype)
        records["key"] = key
        for name, values in columns.items():
            records[name] = values
        order = np.argsort(bucket, kind="stable")
        ends = np.flatnonzero(np.diff(bucket[order])) + 1
        for rows in np.split(order, ends):
            if len(rows):
                with self._path(int(bucket[rows[0]])).open("ab") as file:
                    records[rows].tofile(file)

    def drain(self) -> Iterator[tuple[Ints, Ints, Ints, Records]]:
        """Yield times, users, places and records in order, some thousands at once, and forget them.

        Yields:
            int64 ``[N]`` each, and the records ``[N]``.
        """
        for path in sorted(self._folder.iterdir()):
            records = np.fromfile(path, self.dtype)
            path.unlink()
            order = np.argsort(records["key"], kind="stable")
            start_s = self._start_s + int(path.name) * self._bucket_s
            for begin in range(0, len(order), ROW_GROUP_ROWS):
                yield _unpacked(records[order[begin : begin + ROW_GROUP_ROWS]], start_s)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:06d}"


def _unpacked(records: Records, start_s: int) -> tuple[Ints, Ints, Ints, Records]:
    key = records["key"].astype(np.int64)
    time_s = start_s + (key >> (USER_BITS + PLACE_BITS))
    return time_s, key >> PLACE_BITS & (2**USER_BITS - 1), key & (2**PLACE_BITS - 1), records
