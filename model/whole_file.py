"""The whole file: written beside its place, then renamed into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write a file, which takes its own place when the block ends well.

    Readers find the earlier file, or none, or the whole new one. A block that fails leaves nothing
    new; a process that is killed leaves ``<name>.partial``, which the next writer overwrites.

    Args:
        path: the file's own place, in an existing folder.

    Yields:
        Where to write it, in the same folder.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
