"""What every test runs under: a missing system program is listed by name, never passed over."""

import os
import re
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import programs

MISSING = "needs the system program "

# Time is pytest-timeout's matter: on a busy machine a slow example is not a wrong one. The final
# check draws the same examples every time, so that it speaks of the change and not of chance.
settings.register_profile("project", deadline=None)
settings.register_profile("final", deadline=None, derandomize=True)
settings.load_profile("final" if os.environ.get("REQUIRE_ALL") == "1" else "project")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is missing, or fail it where ``REQUIRE_ALL=1``."""
    for mark in item.iter_markers("needs"):
        (program,) = mark.args
        if programs.find(program) is None:
            _report_missing(program)


def _report_missing(program: str) -> None:
    package = programs.DEBIAN_PACKAGES[program]
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"{MISSING}{program} (Debian package {package})", pytrace=False)
    pytest.skip(f"{MISSING}{program} (Debian package {package})")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every missing program and how many tests wanted it."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    names = [found[1] for text in reasons if (found := re.search(MISSING + r"(\S+)", text))]
    for name in sorted(set(names)):
        terminalreporter.line(f"{name} is missing: {names.count(name)} tests were skipped")


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture
def hangup_counts() -> Iterator[None]:
    """A run started by nohup ignores SIGHUP, and so would the tests within it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
