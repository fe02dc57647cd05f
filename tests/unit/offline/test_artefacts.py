"""The artefact store: built once, rebuilt when anything changed, never half there."""

import json
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from offline.artefacts import SEAL, Artefact, Store

CODE = ("offline.progress",)


class Bench:
    """A store that remembers what it said and how often it built."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.words: list[str] = []
        self.built: list[str] = []

    def make(
        self,
        text: str,
        settings: Mapping[str, Any] | None = None,
        inputs: tuple[Artefact, ...] = (),
        stage: str = "first",
    ) -> Artefact:
        """Build one file, with a store as fresh as that of a new process."""

        def build(out: Path) -> None:
            self.built.append(text)
            (out / "text").write_text(text)

        store = Store(self.root, self.words.append)
        return store.make(stage, build, settings or {}, inputs, code=CODE)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty store."""
    return Bench(tmp_path)


def test_an_unchanged_stage_is_skipped_and_says_so(bench: Bench) -> None:
    """The second run builds nothing, finds the first one's files and names their folder."""
    first, second = bench.make("one"), bench.make("one")
    assert bench.built == ["one"]
    assert second == first
    assert (second.folder / "text").read_text() == "one"
    assert [word.split()[1] for word in bench.words] == ["building", "done", "unchanged,"]
    assert f"skipped ({first.folder})" in bench.words[-1]


def test_within_a_run_a_stage_is_announced_once(tmp_path: Path) -> None:
    """A stage that several others read is built and told of once."""
    words: list[str] = []
    store = Store(tmp_path, words.append)
    for _ in range(3):
        store.make("first", lambda out: (out / "text").touch(), {}, code=CODE)
    assert len(words) == 2


def test_a_changed_setting_or_input_builds_anew(bench: Bench) -> None:
    """Another setting, another input or another stage is another artefact; the old ones stay."""
    source, other = bench.make("source"), bench.make("other", {"seed": 1})
    made = [
        bench.make("a", stage="second"),
        bench.make("b", {"k": 4}, stage="second"),
        bench.make("c", {"k": 5}, stage="second"),
        bench.make("d", {"k": 5}, (source,), stage="second"),
        bench.make("e", {"k": 5}, (other,), stage="second"),
        bench.make("f", {"k": 5}, (source, other), stage="second"),
        bench.make("g", {"k": 5}, (source,), stage="third"),
    ]
    assert len({artefact.folder for artefact in made}) == len(made)
    assert [(artefact.folder / "text").read_text() for artefact in made] == list("abcdefg")


def test_the_seal_says_what_went_in(bench: Bench) -> None:
    """Every artefact carries its settings and its inputs' digests, for lineage."""
    source = bench.make("source")
    made = bench.make("text", {"k": 4}, (source,), stage="second")
    seal = json.loads((made.folder / SEAL).read_text())
    assert seal == {
        "stage": "second",
        "digest": made.digest,
        "settings": {"k": 4},
        "inputs": {"first": source.digest},
    }


DIGEST = """
import sys
import threading
from offline import artefacts
artefacts.PROJECT_PACKAGES = ("shop",)
print(artefacts.code_digest("shop.stage"))
"""


def shop_digest(folder: Path) -> str:
    """The digest of ``shop.stage`` as a fresh process takes it."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}){DIGEST}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("changed", "counts"),
    [("stage", True), ("part", True), ("deep", True), ("late", True), ("stranger", False)],
)
def test_the_code_counts_as_deep_as_it_is_imported(
    changed: str, counts: bool, tmp_path: Path
) -> None:
    """A change in any file that a stage imports, however deep, is another digest."""
    shop = tmp_path / "shop"
    shop.mkdir()
    sources = {
        "__init__": "",
        "stage": "import json\nimport shop.part\nfrom shop import deep as d\n",
        "part": "from shop.deep import x\n",
        "deep": "x = 1\ndef f():\n    from shop.late import y\n    return y\n",
        "late": "y = 2\nimport shop.stage\n",
        "stranger": "z = 3\n",
    }
    for name, text in sources.items():
        (shop / f"{name}.py").write_text(text)
    before = shop_digest(tmp_path)
    assert shop_digest(tmp_path) == before
    (shop / f"{changed}.py").write_text(sources[changed] + "# another line\n")
    assert (shop_digest(tmp_path) != before) is counts


def test_the_file_that_wires_a_stage_counts(tmp_path: Path) -> None:
    """What calls the stages' functions is part of what decides their results."""
    folders = []
    for name, text in (("one", "lambda out: None"), ("two", "lambda out: (out / 'x').touch()")):
        (tmp_path / f"{name}.py").write_text(f"build = {text}")
        scope: dict[str, Any] = {}
        code = compile((tmp_path / f"{name}.py").read_text(), tmp_path / f"{name}.py", "exec")
        exec(code, scope)  # noqa: S102 (a file of this test)
        folders.append(Store(tmp_path).make("first", scope["build"], {}, code=CODE).folder)
    assert folders[0] != folders[1]


def test_a_failed_build_leaves_nothing(bench: Bench) -> None:
    """When a stage raises, its reason comes through and no file of it stays."""

    def fail(out: Path) -> None:
        (out / "half").touch()
        raise ValueError("row 7 is wrong")

    with pytest.raises(ValueError, match="row 7"):
        Store(bench.root, bench.words.append).make("first", fail, {}, code=CODE)
    assert not [p for p in bench.root.rglob("*") if p.is_file()]


def test_a_resumable_build_that_left_nothing_leaves_no_folder(bench: Bench) -> None:
    """A setting that cannot be is refused without a trace, however often it is tried."""

    def fail(out: Path) -> None:
        (out / "checkpoints").mkdir()
        raise ValueError("400 codes for 300 users")

    with pytest.raises(ValueError, match="400 codes"):
        Store(bench.root, bench.words.append).make("first", fail, {}, code=CODE, resumable=True)
    assert list((bench.root / "first").iterdir()) == []


def interrupted(then: Callable[[Path], None]) -> Callable[[Path], None]:
    """A build that leaves a checkpoint and dies, and goes on the second time."""

    def build(out: Path) -> None:
        seen = (out / "checkpoint").exists()
        (out / "checkpoint").touch()
        if not seen:
            raise KeyboardInterrupt
        then(out)

    return build


def test_a_resumable_build_goes_on_from_what_was_there(tmp_path: Path) -> None:
    """An interrupted training finds its own checkpoint the next time, and then is whole."""
    build = interrupted(lambda out: (out / "state").touch())
    store = Store(tmp_path, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        store.make("first", build, {}, code=CODE, resumable=True)
    assert not list(tmp_path.rglob(SEAL))
    made = store.make("first", build, {}, code=CODE, resumable=True)
    assert {path.name for path in made.folder.iterdir()} == {"checkpoint", "state", SEAL}


def test_other_builds_begin_from_an_empty_folder(tmp_path: Path) -> None:
    """What an earlier attempt left is no part of a build that cannot resume."""
    build = interrupted(lambda out: (out / "state").touch())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            Store(tmp_path, lambda _: None).make("first", build, {}, code=CODE)


KILL = """
import os, shutil, signal, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from offline.artefacts import SEAL, Store

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
root = Path(sys.argv[1])

def write(name, *inputs):
    def build(out):
        (out / "parts").mkdir(exist_ok=True)
        for n in range(3):
            (out / "parts" / str(n)).write_text(name * 100)
    return build

def run(kill_at):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in EVENTS:
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    if kill_at:
        sys.addaudithook(hook)
    store = Store(root, lambda words: None)
    first = store.make("first", write("a"), {}, code=("offline.progress",))
    trained = store.make("second", write("b"), {}, (first,), ("offline.progress",), resumable=True)
    store.make("third", write("c"), {}, (trained,), ("offline.progress",))

def in_child(kill_at):
    pid = os.fork()
    if pid == 0:
        run(kill_at)
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def finished():
    folders = [place for place in root.glob("*/*") if place.is_dir()]
    return [folder for folder in folders if not folder.name.endswith(".building")]

def whole(folder):
    letter = {"first": "a", "second": "b", "third": "c"}[folder.parent.name]
    texts = [(folder / "parts" / str(n)).read_text() for n in range(3)]
    return (folder / SEAL).is_file() and texts == [letter * 100] * 3

kill_at, killed = 0, 1
while killed:
    kill_at += 1
    killed = in_child(kill_at)
    assert killed in (0, signal.SIGKILL), killed
    assert all(map(whole, finished())), (kill_at, "a half-written artefact stands")
    assert in_child(0) == 0, (kill_at, "the next run does not complete")
    assert len(finished()) == 3 and all(map(whole, finished())), kill_at
    assert not list(root.glob("*/*.building")), kill_at
    shutil.rmtree(root)
print(kill_at)
"""


def test_a_build_killed_anywhere_leaves_nothing_finished_by_half(tmp_path: Path) -> None:
    """SIGKILL before any file operation: whatever stands is whole, and the next run completes."""
    (tmp_path / "kill.py").write_text(KILL)
    command = [sys.executable, str(tmp_path / "kill.py"), str(tmp_path / "store")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_two_builders_of_one_artefact_do_not_harm_each_other(tmp_path: Path) -> None:
    """While one process builds, another waits and then finds the finished artefact."""
    said: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(out: Path) -> None:
        begun.set()
        go_on.wait(20)
        (out / "rows").write_text("once")

    def hear(line: str) -> None:
        said.append(line)
        if "waiting" in line:
            go_on.set()

    def build() -> Artefact:
        return Store(tmp_path, hear).make("first", slow, {}, code=CODE)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(build)
        assert begun.wait(20)
        second = pool.submit(build)
        assert first.result() == second.result()
    assert sum("building ..." in line for line in said) == 1


def test_an_edit_during_a_run_rebuilds_nothing(tmp_path: Path) -> None:
    """What a process built stays its own, however its source files change while it runs."""
    wiring = tmp_path / "wiring.py"
    wiring.write_text("def build(out):\n    (out / 'rows').touch()\n")
    build = runpy.run_path(str(wiring))["build"]
    store = Store(tmp_path / "store", lambda _: None)
    before = store.make("first", build, {}, code=CODE)
    wiring.write_text(wiring.read_text() + "# edited\n")
    assert store.make("first", build, {}, code=CODE) == before
