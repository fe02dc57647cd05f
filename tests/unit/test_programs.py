"""System programs are found where they are."""

import subprocess

import pytest

from tests import programs


def test_redis_server_is_real() -> None:
    """A test that says Redis talks to the real server."""
    path = programs.find("redis-server")
    assert path is not None
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("Redis server v=")


def test_unlisted_program_is_refused() -> None:
    """A test cannot need a program that nobody is told to install."""
    with pytest.raises(KeyError, match=r"frobnicate is not in tests/programs\.py"):
        programs.find("frobnicate")
