"""Opening the log by the settings: not at all, or with the package that writes its files."""

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from service.feedback.log import LogRules, ServedLog, make_folders
from service.metrics import Metrics
from service.settings import Settings

MISSING = (
    "the served log needs pyarrow, which is not installed: pip install 'choirrec-serving[log]'"
)
_log = logging.getLogger("choirrec")
_FILES = "service.feedback.parquet_files"


def open_log(settings: Settings, metrics: Metrics) -> ServedLog | None:
    """The log of one worker, not started yet; None where none is kept.

    Args:
        settings: where and how much.
        metrics: counts rows.

    Raises:
        ValueError: when the package that writes the files is not installed.
    """
    if settings.log is None:
        return None
    rules = LogRules(
        settings.log, settings.log_sample, settings.log_rotate_s, settings.log_retain_bytes
    )
    return ServedLog(rules, files("CHOIRREC_LOG").ParquetPart, metrics)


def check_log(settings: Settings) -> None:
    """Find out at the start what the log lacks; nothing is opened, nothing large is imported.

    Raises:
        ValueError: when the package that writes the files is not installed, or a key is empty.
        OSError: when the folder cannot be made or written to.
    """
    if settings.log is None:
        return
    if find_spec("pyarrow") is None:
        raise ValueError(f"CHOIRREC_LOG: {MISSING}")
    settings.log_user_key()
    make_folders(settings.log)


def files(wanted_by: str) -> Any:
    """The module ``service.feedback.parquet_files``, found by name.

    Its package is large and optional: it must not load in a service that keeps no log.

    Args:
        wanted_by: the setting or option, for the message.

    Raises:
        ValueError: when its package is not installed.
    """
    try:
        return import_module(_FILES)
    except ImportError as error:
        raise ValueError(f"{wanted_by}: {MISSING} ({error})") from error


def logged_rows(
    folder: Path, kind: str, request_id: str, tell: Callable[[str], None] = _log.warning
) -> list[dict[str, Any]]:
    """All rows of one request, the newest first; arguments as ``find_rows``, raises ValueError."""
    return list(files("--log").find_rows(folder, kind, request_id, tell))
