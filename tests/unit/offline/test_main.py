"""The command line: exit codes, reasons, and files that appear whole or not at all."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import offline.__main__
from model.desired import Change, Desired, Target
from model.generation import Generation
from offline.__main__ import main
from offline.artefacts import Store
from offline.embedded_redis import EmbeddedRedis, embedded_redis
from offline.engine import EngineError
from offline.events import CanonicalTables
from offline.generation_commands import told
from offline.pipeline import Pipeline
from offline.presets import PRESETS
from offline.product import Product
from offline.publish import Published, publish
from offline.redis_client import RedisClient
from offline.removal import complete_generations
from offline.sources import own_files
from tests.fixtures.tiny_log import write_log
from tests.records import WRITTEN_AT_S, group_record, user_record

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real Redis."""
    with embedded_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def files(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def without(name: str) -> Callable[[Path], None]:
    """Remove a file of the log."""
    return lambda folder: (folder / name).unlink()


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Change a text in a file of the log."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


BAD_LOGS = {
    "no mapping": (without("mapping.toml"), "cannot read the mapping"),
    "no toml": (replaced("mapping.toml", "[users]", "[users"), "mapping.toml"),
    "unknown key": (replaced("mapping.toml", "discrete", "discreet"), "discreet"),
    "no column": (replaced("mapping.toml", '"age_band"', '"age"'), "users.csv has no column 'age'"),
    "no file": (without("purchases.csv"), "purchases.csv: No such file"),
    "no label": (replaced("mapping.toml", 'label = "bought"', ""), "label or attribution_days"),
    "bad split": (
        replaced("mapping.toml", "test_end = 2026-03-02", "test_end = 2026-01-02"),
        "boundaries must increase",
    ),
    "stranger": (replaced("clicks.csv", "customer-1,", "nobody,"), "is 'nobody'; must be one of"),
    "bad time": (replaced("purchases.csv", ",17", ",x17"), "must be seconds since 1970"),
    "bad number": (replaced("users.csv", "customer-1,", "customer-1,,,many\nx,"), "income, row 2"),
    "huge number": (
        replaced("users.csv", "customer-1,", "customer-1,,,-1e30\nx,"),
        "is '-1e+30'; must be a number between -1e+18 and 1e+18",
    ),
    "huge window": (
        replaced("mapping.toml", "[7, 14, 28]", "[7, 14, 999999]"),
        "profile_windows_days is (7, 14, 999999); expected three increasing numbers of days, 36500",
    ),
    "twice": (replaced("items.csv", "sku-1,", "sku-0,"), "item_id must be unique"),
}


@pytest.mark.parametrize("command", ["build", "evaluate"])
@pytest.mark.parametrize("case", BAD_LOGS)
def test_a_bad_log_ends_with_2_and_writes_nothing(
    case: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with the mapping or a row is said once, in words, and no file appears."""
    damage, reason = BAD_LOGS[case]
    mapping = write_log(tmp_path / "log")
    damage(tmp_path / "log")
    before = set(files(tmp_path))
    out = ["--out", str(tmp_path / "eval.json")] if command == "evaluate" else []
    root = ["--root", str(tmp_path / "var"), "--mapping", str(mapping), "--preset", "demo"]
    assert main([command, *root, *out]) == 2
    assert reason in capsys.readouterr().err
    assert set(files(tmp_path)) == before


def test_an_unknown_window_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The panel's windows are named when another is asked for."""
    assert main(["build", "--root", str(tmp_path), "--window", "christmas"]) == 2
    assert "expected one of design, replication" in capsys.readouterr().err
    assert not files(tmp_path)


@pytest.mark.parametrize("command", [["evaluate"], ["groups", "report"]])
@pytest.mark.parametrize(
    ("out", "reason"), [("", "is a folder; expected"), ("log/users.csv/x/y", "is no folder that")]
)
def test_a_place_that_cannot_be_written_is_found_first(
    command: list[str], out: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits for every stage to learn that ``--out`` names a folder."""
    mapping = write_log(tmp_path / "log")
    where = ["--root", str(tmp_path / "var"), "--mapping", str(mapping), "--preset", "demo"]
    assert main([*command, *where, "--out", str(tmp_path / out)]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "var").exists()


def test_a_folder_without_evidence_ends_with_2_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody trains a model to learn that ``--evidence`` names the wrong folder."""
    mapping = write_log(tmp_path / "log")
    where = ["--root", str(tmp_path / "var"), "--mapping", str(mapping), "--preset", "demo"]
    assert main(["build", *where, "--evidence", str(tmp_path / "log")]) == 2
    assert "holds no paper.parquet with cells" in capsys.readouterr().err
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(("world", "warned"), [(1, False), (101, True), (105, True), (106, False)])
def test_a_world_that_is_set_aside_is_told(
    world: int,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever looks at a world of the confirmation learns it in one line, and may go on."""
    monkeypatch.setattr(offline.__main__, "evaluate_seeds", lambda *_: {})
    out = ["--root", str(tmp_path), "--out", str(tmp_path / "eval.json")]
    assert main(["evaluate", "--world", str(world), *out]) == 0
    line = f"world {world} is set aside to confirm results, once (docs/simulator.md)\n"
    assert capsys.readouterr().err == line * warned


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bild"],
        ["evaluate", "--seeds", "0"],
        ["evaluate", "--seeds", "two"],
        ["build", "--keep", "0"],
        ["build", "--preset", "huge"],
        ["generations"],
    ],
)
def test_a_wrong_call_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command that does not exist or a value that cannot be is refused with the usage."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: choirrec-offline" in capsys.readouterr().err


def test_a_failure_ends_with_1_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An unreachable Redis is a sentence and not a traceback."""
    assert main(["generations", "--redis-url", NOWHERE]) == 1
    said = capsys.readouterr().err
    assert said.startswith("choirrec-offline: ")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("425392 requested and 280544 written"), "280544 written; the disk of {root} may"),
        (OSError(errno.ENOSPC, "No space left on device"), "device; the disk of {root} may"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.npy"), "No such file: 'x.npy'\n"),
        (EngineError("cannot run an expression"), "choirrec-offline: cannot run an expression\n"),
    ],
)
def test_a_failure_to_write_names_the_folder(
    error: Exception,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A full disk is named as such, with the folder that it holds; other words stay as they are."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(offline.__main__, "evaluate_seeds", fail)
    assert main(["evaluate", "--root", str(tmp_path)]) == 1
    assert reason.format(root=tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize("losses", ["identified", "literal"])
def test_the_losses_of_the_paper_can_be_asked_for(
    losses: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--losses`` decides which losses a model is trained with."""
    asked: list[str] = []

    def remember(pipeline: Product, _: object) -> dict[str, object]:
        asked.append(pipeline.preset.losses)
        return {}

    monkeypatch.setattr(offline.__main__, "evaluate_seeds", remember)
    out = ["--root", str(tmp_path), "--out", str(tmp_path / "eval.json")]
    assert main(["evaluate", *out, "--losses", losses]) == 0
    assert asked == [losses]


def test_help_says_nothing_else() -> None:
    """Whatever libraries would say when they are imported is no part of an answer."""
    command = [sys.executable, "-m", "offline", "--help"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert asked.stdout.startswith("usage: choirrec-offline")
    assert asked.stderr == ""


def test_an_interruption_ends_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C says that the same command goes on where it stopped; no result stands half-written."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(offline.__main__, "evaluate_seeds", interrupt)
    mapping = write_log(tmp_path / "log")
    out = tmp_path / "results" / "eval.json"
    assert main(["evaluate", "--mapping", str(mapping), "--out", str(out)]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    assert not files(tmp_path / "results")


def test_records_of_another_moment_are_published_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``publish --cut`` writes another generation of one contract, and trains nothing."""
    mapping = write_log(tmp_path / "log")
    root = tmp_path / "var"
    arguments = ["publish", "--root", str(root), "--mapping", str(mapping), "--preset", "demo"]
    cut = CanonicalTables.open(
        Pipeline(Store(root / "artefacts"), own_files(mapping), PRESETS["demo"]).events().folder
    ).schema.split.validation_start
    with embedded_redis(tmp_path / "redis") as server:
        here = [*arguments, "--redis-url", server.url]
        assert main(here) == 0
        assert main([*here, "--cut", cut.isoformat()]) == 0
        first, second = complete_generations(RedisClient(server.url))
        assert main([*here, "--cut", "1999-01-01T00:00:00"]) == 2
    assert first.feature_contract == second.feature_contract
    assert second.as_of_s < first.as_of_s
    assert not (root / "artefacts" / "training").exists()
    assert "where training starts" in capsys.readouterr().err
    assert main([*arguments, "--redis-url", NOWHERE]) == 1
    with pytest.raises(SystemExit, match="2"):
        main([*here, "--cut", "soon"])


@pytest.mark.slow
def test_evaluate_writes_the_named_figures(tmp_path: Path) -> None:
    """``evaluate --seeds 1`` on a log of one's own ends in a file of the figures by name."""
    mapping = write_log(tmp_path / "log")
    out = tmp_path / "results" / "eval.json"
    arguments = ["--root", str(tmp_path / "var"), "--mapping", str(mapping), "--preset", "demo"]
    assert main(["evaluate", *arguments, "--seeds", "1", "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert (figures["dataset"], figures["preset"], figures["seeds"]) == ("tiny-shop", "demo", [0])
    for model in ("din", "choirrec"):
        for name in ("auc_low", "auc_overall", "gauc_low", "gauc_overall"):
            assert 0 <= figures[model][name] <= 1
        assert len(figures[model]["gauc_levels"]) == 5
    assert files(out.parent) == [out]


def test_generations_are_listed_and_removed(
    redis: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    """Complete and abandoned generations are told apart, and one goes when it is named."""
    for name in ("one", "two"):
        publish(RedisClient(redis.url), _meta(name), [user_record(1)], [group_record()], keep=5)
    with pytest.raises(RuntimeError, match="were announced"):
        publish(RedisClient(redis.url), _meta("half"), [], [group_record()], keep=5)
    assert main(["generations", "--redis-url", redis.url]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed == [
        "complete    one  1 users, 1 groups",
        "complete    two  1 users, 1 groups",
        "incomplete  half",
    ]
    for name, count in (("one", 2), ("half", 1)):
        assert main(["generations", "--redis-url", redis.url, "--remove", name]) == 0
        assert f"removed {count} records of {name}" in capsys.readouterr().out
    assert main(["generations", "--redis-url", redis.url]) == 0
    assert capsys.readouterr().out == "complete    two  1 users, 1 groups\n"


def test_a_generation_in_use_is_listed_and_stays(
    redis: EmbeddedRedis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever lists generations sees who uses them; removing one of those ends with the reason."""
    publish(RedisClient(redis.url), _meta("one"), [user_record(1)], [group_record()])
    change = Change(action="promote", who="me", why="test", when_s=1.0)
    desired = Desired(7, Target(1, "one"), change, "salt")
    (tmp_path / "desired.json").write_text(desired.to_json())
    listing = ["generations", "--redis-url", redis.url, "--state", str(tmp_path)]
    assert main(listing) == 0
    listed = capsys.readouterr().out.splitlines()
    assert "complete    one  1 users, 1 groups  in use: champion of revision 7" in listed
    assert main([*listing, "--remove", "one"]) == 1
    assert "one is in use (champion of revision 7)" in capsys.readouterr().err
    (tmp_path / "desired.json").write_text("{")
    assert main([*listing, "--remove", "one"]) == 1
    assert "nothing was removed" in capsys.readouterr().err
    assert "one" in {found.name for found in complete_generations(RedisClient(redis.url))}


def test_a_publish_tells_what_it_removed_and_what_it_kept() -> None:
    """Whoever publishes reads which older generations went, and why others stayed."""
    published = Published(_meta("new"), 2, 0.1, 9, ("old",), {"older": "champion of revision 7"})
    assert told(published).split("\n") == [
        "generation new: 2 records written",
        "removed old, an older one",
        "kept older, an older one in use: champion of revision 7",
    ]


def test_a_name_that_is_no_generation_is_refused(
    redis: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pattern cannot be removed by mistake: names are names."""
    assert main(["generations", "--redis-url", redis.url, "--remove", "*"]) == 1
    assert "expected 1 to 64 letters" in capsys.readouterr().err


def _meta(name: str) -> Generation:
    return Generation(
        name=name,
        feature_contract="c" * 64,
        as_of_s=WRITTEN_AT_S,
        written_at_s=WRITTEN_AT_S,
        users=1,
        groups=1,
        items=0,
        id_chunks=0,
        complete=False,
    )
