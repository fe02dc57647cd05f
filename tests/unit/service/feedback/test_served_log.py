"""The served log: whole files, bounded, never in the way of an answer."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.served_log import OUTCOMES, SERVED, is_sampled, pseudonym
from service.feedback import log as log_module
from service.feedback import shelf
from service.feedback.log import LogRules, ServedLog
from service.feedback.parquet_files import ParquetPart, find_rows
from service.feedback.part import Row, UnwritablePart
from service.feedback.retention import ORPHANED_S, retain
from service.metrics import Metrics

FOREVER_S = 3600.0


def outcome(number: int) -> Row:
    """A row of outcomes."""
    return {
        "request_id": f"r-{number}",
        "item_id": "i",
        "outcome": "order",
        "time_s": float(number),
        "value": None,
        "received_s": 1.0,
    }


def rules(folder: Path, rotate_s: float = FOREVER_S, retain_bytes: int = 1 << 30) -> LogRules:
    """A log of everything."""
    return LogRules(folder, 1.0, rotate_s, retain_bytes)


def ids(folder: Path, kind: str = OUTCOMES) -> list[str]:
    """The request ids in whole files, in the order of the files."""
    files = sorted((folder / kind).glob("*.parquet"))
    return [str(one) for path in files for one in pq.read_table(path)["request_id"].to_pylist()]


def counted(metrics: Metrics, name: str, kind: str = OUTCOMES) -> float | None:
    """A counter of the log."""
    return metrics.registry.get_sample_value(f"choirrec_log_{name}_total", {"log": kind})


def test_what_was_handed_over_stands_in_whole_files(tmp_path: Path) -> None:
    """Nothing is lost at an orderly end, and no unfinished file stays behind."""
    metrics = Metrics()
    log = ServedLog(rules(tmp_path), ParquetPart, metrics)
    log.start()
    for number in range(0, 600, 2):
        assert log.add_outcomes([outcome(number), outcome(number + 1)])
    log.close()
    assert ids(tmp_path) == [f"r-{n}" for n in range(600)]
    assert counted(metrics, "rows") == 600
    assert counted(metrics, "dropped_rows") == 0
    assert [path.name for path in (tmp_path / OUTCOMES).glob(".*")] == []


def test_files_are_closed_by_age(tmp_path: Path) -> None:
    """A reader sees a request soon after it was answered, without the service ending."""
    log = ServedLog(rules(tmp_path, rotate_s=0.05), ParquetPart, Metrics())
    log.start()
    log.add_outcomes([outcome(1)])
    deadline = time.monotonic() + 20
    while not ids(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ids(tmp_path) == ["r-1"]
    log.close()


def test_files_are_closed_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file grows without bound on a busy day."""
    monkeypatch.setattr(shelf, "PART_BYTES", 1)
    log = ServedLog(rules(tmp_path), ParquetPart, Metrics())
    log.start()
    for number in range(shelf.ROWS_AT_ONCE * 2):
        log.add_outcomes([outcome(number)])
    log.close()
    assert len(list((tmp_path / OUTCOMES).glob("*.parquet"))) == 2


def test_full_log_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs costs rows, never memory or time of a caller."""
    monkeypatch.setattr(log_module, "WAITING", 5)
    metrics = Metrics()
    log = ServedLog(rules(tmp_path), ParquetPart, metrics)  # its thread does not run
    taken = [log.add_outcomes([outcome(n), outcome(n)]) for n in range(4)]
    assert taken == [True, True, False, False]
    assert counted(metrics, "dropped_rows") == 4


class _Disk:
    """A disk that is full for its first file."""

    def __init__(self) -> None:
        self.files = 0

    def open(self, kind: str, path: Path) -> ParquetPart:
        """Open a file."""
        self.files += 1
        return (_FullDisk if self.files == 1 else ParquetPart)(kind, path)


class _FullDisk(ParquetPart):
    """A file on a disk that is full."""

    def add(self, rows: Sequence[Row]) -> None:
        raise UnwritablePart("No space left on device")


def test_full_disk_loses_rows_but_not_the_log(tmp_path: Path) -> None:
    """After the disk has room again the log goes on by itself; what was lost is counted."""
    metrics = Metrics()
    log = ServedLog(rules(tmp_path, rotate_s=0.01), _Disk().open, metrics)
    log.start()
    log.add_outcomes([outcome(1)])
    deadline = time.monotonic() + 20
    while not counted(metrics, "dropped_rows") and time.monotonic() < deadline:
        time.sleep(0.01)
    log.add_outcomes([outcome(2)])
    log.close()
    assert ids(tmp_path) == ["r-2"]
    assert counted(metrics, "dropped_rows") == 1
    assert list((tmp_path / OUTCOMES).glob(".*")) == []


def test_oldest_files_go_first(tmp_path: Path) -> None:
    """The log keeps within its bytes, and what stays is the newest."""
    for age, name in enumerate(["c", "b", "a"]):
        path = tmp_path / (SERVED if age else OUTCOMES) / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (1000 - age, 1000 - age))
    assert retain(tmp_path, 250) == 1
    assert [path.name for path in sorted(tmp_path.glob("*/*"))] == ["c.parquet", "b.parquet"]


def test_only_what_the_killed_left_is_swept(tmp_path: Path) -> None:
    """A file that another worker is writing is left alone."""
    (tmp_path / SERVED).mkdir()
    old, young = (tmp_path / SERVED / f".{name}.parquet.partial" for name in ("old", "young"))
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - ORPHANED_S - 60,) * 2)
    retain(tmp_path, 1)
    assert (old.exists(), young.exists()) == (False, True)


def test_request_is_found_newest_first(tmp_path: Path) -> None:
    """A caller who used one id twice is told of the last answer first."""
    for number, name in enumerate(["20260101", "20260102"]):
        (tmp_path / OUTCOMES).mkdir(exist_ok=True)
        part = ParquetPart(OUTCOMES, tmp_path / OUTCOMES / f"{name}.parquet")
        part.add([{**outcome(7), "time_s": float(number)}, outcome(8)])
        part.finish()
    found = list(find_rows(tmp_path, OUTCOMES, "r-7"))
    assert [row["time_s"] for row in found] == [1.0, 0.0]
    assert list(find_rows(tmp_path, OUTCOMES, "r-9")) == []


@pytest.mark.parametrize("damage", ["junk", "cut", "overwritten", "another"])
def test_damaged_file_is_named_and_passed_over(tmp_path: Path, damage: str) -> None:
    """One broken file costs its own rows; an operator reads which one it is."""
    for name in ("a", "b"):
        (tmp_path / OUTCOMES).mkdir(exist_ok=True)
        part = ParquetPart(OUTCOMES, tmp_path / OUTCOMES / f"{name}.parquet")
        part.add([outcome(7)])
        part.finish()
    broken = tmp_path / OUTCOMES / "b.parquet"
    whole = broken.read_bytes()
    if damage == "another":
        pq.write_table(pa.table({"request_id": ["r-7"]}), broken)
    else:
        damages = {"junk": b"no parquet", "cut": whole[: len(whole) // 2]}
        broken.write_bytes(damages.get(damage, whole[:4] + b"\xff" * 80 + whole[84:]))
    told: list[str] = []
    (row,) = find_rows(tmp_path, OUTCOMES, "r-7", told.append)
    assert row["item_id"] == "i"
    (words,) = told
    assert words.startswith(f"{broken} cannot be read")


@given(st.text(min_size=1, max_size=64), st.floats(0, 1), st.floats(0, 1))
def test_greater_sample_only_adds_requests(request_id: str, one: float, other: float) -> None:
    """Whoever raises the share keeps what was logged before, on every replica alike."""
    small, large = sorted((one, other))
    assert is_sampled(request_id, large) or not is_sampled(request_id, small)
    assert is_sampled(request_id, 1.0)
    assert not is_sampled(request_id, 0.0)


def test_sample_is_as_large_as_it_says() -> None:
    """One per cent is one per cent."""
    found = sum(is_sampled(f"request-{n}", 0.01) for n in range(100_000))
    assert abs(found - 1000) < 4 * 1000**0.5


def test_hidden_users_stay_apart_and_unknown() -> None:
    """Users can be counted, but not named without the key."""
    names = {pseudonym(user, b"key") for user in ("u1", "u2")}
    assert len(names) == 2
    assert pseudonym("u1", b"key") in names
    assert pseudonym("u1", b"other") not in names
