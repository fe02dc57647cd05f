"""The mapping: a TOML file that says where a log's files hold what the canonical tables need."""

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from offline.events import check_names
from offline.rules import ConfigError

TimeFormat = Literal["iso", "epoch_s", "epoch_ms"]


class UsersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[users]``: the file, its id column and the attribute columns, which keep their names."""

    file: str
    user_id: str
    discrete: tuple[str, ...] = ()
    continuous: tuple[str, ...] = ()


class ItemsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[items]``: the file and its columns; category levels go from coarse to fine."""

    file: str
    item_id: str
    text: str
    categories: tuple[str, ...]
    side: tuple[str, ...] = ()


class ClicksFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[clicks]``: the file and its columns; a ``label`` column or ``attribution_days``."""

    file: str
    user_id: str
    item_id: str
    time: str
    time_format: TimeFormat = "iso"
    request_id: str | None = None
    """None: the clicks of a user at one time are one request."""
    label: str | None = None
    attribution_days: float | None = None
    """Label 1 when the user buys the item within so many days of the click."""


class PurchasesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[purchases]``: the file and its columns; one row per purchase line."""

    file: str
    user_id: str
    item_id: str
    time: str
    time_format: TimeFormat = "iso"


class SearchesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[searches]``: the file and its columns."""

    file: str
    user_id: str
    query: str
    time: str
    time_format: TimeFormat = "iso"


class SplitTimes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[split]``: the five boundaries; UTC where no zone is given."""

    history_start: datetime
    train_start: datetime
    validation_start: datetime
    test_start: datetime
    test_end: datetime


class LogMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole mapping file."""

    name: str
    provenance: str
    users: UsersFile
    items: ItemsFile
    clicks: ClicksFile
    purchases: PurchasesFile
    searches: SearchesFile | None = None
    split: SplitTimes | None = None
    event: Literal["click", "exposure"] = "click"
    clicks_are_sampled: bool = False
    profile_windows_days: tuple[int, int, int] = (7, 30, 365)


def load(mapping: Path) -> LogMapping:
    """Read a mapping file.

    Raises:
        ConfigError: when it is absent, no TOML, or a key is unknown, missing or of another type.
    """
    try:
        values = tomllib.loads(mapping.read_text(encoding="utf-8"))
        described = msgspec.convert(values, LogMapping)
    except OSError as error:
        raise ConfigError(f"cannot read the mapping {mapping}: {error.strerror}") from error
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{mapping}: {error}") from error
    check_names(described.users.discrete + described.users.continuous)
    check_names(described.items.categories + described.items.side)
    _check_label(mapping, described.clicks)
    return described


def _check_label(mapping: Path, clicks: ClicksFile) -> None:
    days = clicks.attribution_days
    if (clicks.label is None) == (days is None):
        raise ConfigError(f"{mapping}: [clicks] needs label or attribution_days, one of the two")
    if days is not None and days <= 0:
        raise ConfigError(f"{mapping}: clicks.attribution_days is {days}; expected more than 0")
