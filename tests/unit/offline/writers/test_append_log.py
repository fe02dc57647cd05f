"""The append-only log: whole lines or nothing, whatever was torn."""

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from offline.writers.append_log import AppendLog, read_entry

PAYLOADS = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=8)


def write(folder: Path, payloads: list[bytes]) -> Path:
    """One process's shard."""
    log = AppendLog(folder, "lines")
    for payload in payloads:
        entry = log.append(payload)
        assert read_entry((entry.shard, entry.offset)) == payload
    log.close()
    return max(folder.iterdir())


def read(folder: Path) -> tuple[list[bytes], int]:
    """Every payload, and how many lines were left out."""
    log = AppendLog(folder, "lines")
    return [entry.payload for entry in log.entries()], log.damaged


@given(PAYLOADS)
def test_what_was_appended_is_read(payloads: list[bytes]) -> None:
    """Any bytes without line breaks come back in order."""
    with TemporaryDirectory() as name:
        if payloads:
            write(Path(name), payloads)
        assert read(Path(name)) == (payloads, 0)


def test_a_torn_end_costs_one_line(tmp_path: Path) -> None:
    """Cut at any byte, the log holds every line before the cut and no part of another."""
    payloads = [b'{"a":1}', b"", b"\xff\x00two", b"three"]
    shard = write(tmp_path, payloads)
    whole = shard.read_bytes()
    for size in range(len(whole) + 1):
        shard.write_bytes(whole[:size])
        kept = whole[:size].count(b"\n")
        torn = not whole[:size].endswith(b"\n") and size > 0
        assert read(tmp_path) == (payloads[:kept], int(torn))


def test_an_altered_byte_costs_one_line(tmp_path: Path) -> None:
    """Whatever byte changes, no altered payload is ever read."""
    payloads = [b"first", b"second", b"third"]
    shard = write(tmp_path, payloads)
    whole = shard.read_bytes()
    for at in range(len(whole)):
        shard.write_bytes(whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :])
        found, damaged = read(tmp_path)
        assert damaged >= 1
        assert set(found) < set(payloads)


def test_nobody_writes_behind_a_torn_line(tmp_path: Path) -> None:
    """A later process opens a shard of its own, so a kill never costs the lines after it."""
    shard = write(tmp_path, [b"one", b"two"])
    shard.write_bytes(shard.read_bytes()[:-3])
    write(tmp_path, [b"three"])
    assert read(tmp_path) == ([b"one", b"three"], 1)
    assert len(list(tmp_path.iterdir())) == 2


def test_lines_are_their_owners_alone(tmp_path: Path) -> None:
    """Texts about users are nobody else's to read on a shared machine."""
    assert stat.S_IMODE(write(tmp_path, [b"one"]).stat().st_mode) == 0o600


def test_two_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    """Two open logs of one folder have a shard each."""
    logs = [AppendLog(tmp_path, "lines") for _ in range(2)]
    for number in range(6):
        logs[number % 2].append(b"%d" % number)
    for log in logs:
        log.close()
    assert read(tmp_path) == ([b"0", b"2", b"4", b"1", b"3", b"5"], 0)


def test_a_line_that_is_gone_is_none(tmp_path: Path) -> None:
    """Reading a place again after damage gives nothing, not rubbish."""
    shard = write(tmp_path, [b"one"])
    shard.write_bytes(b"")
    assert read_entry((shard, 0)) is None
