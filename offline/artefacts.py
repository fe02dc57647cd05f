"""The artefact store: every stage's output under the digest of all that went into it."""

import ast
import fcntl
import importlib.util
import inspect
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

SEAL = "artefact.json"
PROJECT_PACKAGES = ("model", "offline", "choirrec")
LIBRARIES = (
    "duckdb",
    "faiss-cpu",
    "ibis-framework",
    "numpy",
    "pyarrow",
    "scipy",
    "torch",
    "wordllama",
)
"""Libraries whose version can change what a stage computes; those of one encoder alone stand in
its settings (``EncoderChoice.decides``)."""


@dataclass(frozen=True)
class Artefact:
    """The finished output of one stage."""

    stage: str
    digest: str
    """SHA-256 over the stage's name, its settings, its code and its inputs' digests."""
    folder: Path


class Store:
    """Artefacts below one folder, as ``<stage>/<digest>/``.

    A stage builds in a folder beside its place and is renamed into it when complete: whatever
    has a place is whole. An artefact whose digest is there already is not built again.
    """

    def __init__(self, root: Path, say: Callable[[str], None] = print) -> None:
        self.root = root
        self._say = say
        self._made: dict[str, Artefact] = {}

    def make(
        self,
        stage: str,
        build: Callable[[Path], object],
        settings: Mapping[str, Any],
        inputs: Sequence[Artefact] = (),
        code: Sequence[str] = (),
        resumable: bool = False,
    ) -> Artefact:
        """Build an artefact, or find it.

        Args:
            stage: the stage's name.
            build: writes the artefact into the empty folder it is given; the file it is written
                in counts with ``code``.
            settings: everything but code and inputs that the result depends on; JSON values.
            inputs: artefacts it reads.
            code: modules that do the work, ``offline.<stage>`` unless named; all they import from
                this project counts with them.
            resumable: keep what a killed build left, for the next build to go on from.

        Returns:
            The artefact, complete.

        Raises:
            Exception: whatever ``build`` raises; unless resumable, nothing of it is left then, and
                no empty folder in any case.
        """
        modules = code or (f"offline.{stage}",)
        sources = [_wiring(build), *map(code_digest, modules)]
        digest = _digest(stage, settings, inputs, sources)
        if digest not in self._made:
            artefact = Artefact(stage, digest, self.root / stage / digest[:16])
            if (artefact.folder / SEAL).is_file():
                self._say(f"  {stage:<12} unchanged, skipped ({artefact.folder})")
            else:
                with self._alone(artefact) as first:
                    if first:
                        began = time.monotonic()
                        self._say(f"  {stage:<12} building ...")
                        self._build(artefact.folder, build, resumable)
                        self._finish(artefact, settings, inputs)
                        took = time.monotonic() - began
                        self._say(f"  {stage:<12} done in {took:.1f} s ({artefact.folder})")
            self._made[digest] = artefact
        return self._made[digest]

    @contextmanager
    def _alone(self, artefact: Artefact) -> Iterator[bool]:
        """Hold the artefact's lock; yields whether it is still to be built.

        The lock goes with the process that holds it: after a killed build its file means nothing.
        """
        artefact.folder.parent.mkdir(parents=True, exist_ok=True)
        path = artefact.folder.with_name(f"{artefact.folder.name}.lock")
        with self._locked(path, artefact.stage):
            try:
                yield not (artefact.folder / SEAL).is_file()
            finally:
                path.unlink()

    def _locked(self, path: Path, stage: str) -> IO[str]:
        """The locked file of that path; closing it lets go."""
        while True:
            lock = path.open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say(f"  {stage:<12} another process is building it, waiting ...")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _same_file(lock, path):
                return lock
            # Its last holder removed it while this process waited.
            lock.close()

    def _build(self, place: Path, build: Callable[[Path], object], resumable: bool) -> None:
        site = _site(place)
        if site.exists() and not resumable:
            shutil.rmtree(site)
        site.mkdir(parents=True, exist_ok=True)
        try:
            build(site)
        except BaseException:
            if not resumable or not any(path.is_file() for path in site.rglob("*")):
                shutil.rmtree(site)
            raise

    def _finish(
        self, artefact: Artefact, settings: Mapping[str, Any], inputs: Sequence[Artefact]
    ) -> None:
        site = _site(artefact.folder)
        seal = {
            "stage": artefact.stage,
            "digest": artefact.digest,
            "settings": settings,
            "inputs": {source.stage: source.digest for source in inputs},
        }
        (site / SEAL).write_text(json.dumps(seal, sort_keys=True, indent=1))
        if artefact.folder.exists():
            shutil.rmtree(artefact.folder)
        site.rename(artefact.folder)


def code_digest(module: str) -> str:
    """SHA-256 of a module's source and of every project module it imports, however deep."""
    sources = sorted(_closure(module))
    digest = sha256()
    for name in sources:
        digest.update(name.encode() + b"\0" + _source(name).encode())
    return digest.hexdigest()


def _wiring(build: Callable[[Path], object]) -> str:
    """SHA-256 of the file that says which functions a stage calls, and with what."""
    return sha256(_text(inspect.getfile(build)).encode()).hexdigest()


def _same_file(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _site(place: Path) -> Path:
    return place.with_name(f"{place.name}.building")


def _digest(
    stage: str,
    settings: Mapping[str, Any],
    inputs: Iterable[Artefact],
    sources: Sequence[str],
) -> str:
    content = [
        stage,
        settings,
        sources,
        [artefact.digest for artefact in inputs],
        sys.version_info[:2],
        [version(library) for library in LIBRARIES],
    ]
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _closure(module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_project_imports(name))
    return found


@cache
def _project_imports(module: str) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    ours = (name for name in names if name.split(".")[0] in PROJECT_PACKAGES)
    return tuple(sorted(name for name in ours if _is_module(name)))


@cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@cache
def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(f"no module {module!r} to take the digest of")
    return _text(spec.origin) if spec.origin else ""


@cache
def _text(path: str) -> str:
    """A source file as this process first saw it: an edit under way changes nothing that runs."""
    return Path(path).read_text()
