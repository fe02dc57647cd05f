"""Generates the Python code of the protobuf schema, or says where it has drifted."""

import argparse
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "proto"
GENERATED = ("*_pb2.py", "*_pb2.pyi")


def generate(out: Path) -> None:
    """Write the generated modules and their type stubs.

    Args:
        out: an existing folder; files go to ``choirrec/v1/`` below it.

    Raises:
        RuntimeError: when the compiler refuses a schema (it has printed why).
    """
    schemas = sorted(str(path) for path in SOURCES.rglob("*.proto"))
    includes = [f"-I{SOURCES}", f"-I{files('grpc_tools') / '_proto'}"]
    plugin = f"--plugin=protoc-gen-mypy={Path(sys.executable).with_name('protoc-gen-mypy')}"
    outputs = [f"--python_out={out}", f"--mypy_out=quiet:{out}"]
    status = protoc.main(["protoc", *includes, plugin, *outputs, *schemas])
    if status != 0:
        raise RuntimeError(
            f"protoc ended with status {status} for {schemas}; see its message above"
        )


def drift() -> list[str]:
    """Names of generated files that differ from what the schema gives, are missing or left over."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = _contents(Path(folder))
    committed = _contents(SOURCES)
    names = fresh.keys() | committed.keys()
    return sorted(name for name in names if fresh.get(name) != committed.get(name))


def _contents(root: Path) -> dict[str, bytes]:
    paths = (path for pattern in GENERATED for path in root.rglob(pattern))
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def main() -> int:
    """Command line: writes the code, or with ``--check`` compares it; 1 means drift."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare only")
    if not parser.parse_args().check:
        generate(SOURCES)
        return 0
    drifted = drift()
    for name in drifted:
        print(f"proto/{name} differs from its schema; run `make proto` and commit it")
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
