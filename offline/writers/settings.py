"""The writer's settings: from a TOML file and the environment, checked at the door."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from offline.openai_client import Endpoint
from offline.rules import ConfigError

WriterName = Literal["template", "openai", "local"]
WRITERS: tuple[WriterName, ...] = ("template", "openai", "local")
PREFIX = "CHOIRREC_LLM_"

Positive = Annotated[int, msgspec.Meta(gt=0)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
_READ: Mapping[str, Callable[[str], Any]] = {
    "attributes": lambda text: [name.strip() for name in text.split(",") if name.strip()],
    "extra": json.loads,
}
"""How a variable's text becomes a value that is neither a string nor a number."""
_RESERVED = {
    "model",
    "messages",
    "response_format",
    "temperature",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "stream",
}
"""Members of a request on which the budget, the cache and the reading of answers rest."""


class WriterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who writes profiles, and how."""

    writer: WriterName = "template"
    """"openai": any endpoint that speaks OpenAI's chat completions; "local": a small model here."""
    base_url: str = ""
    """openai: the endpoint, up to and with its version."""
    model: str = ""
    """openai: the model's name there."""
    revision: str = ""
    """openai: which weights bear that name; answers are kept apart by it."""
    key_file: str = ""
    """openai: a file with the key; none is sent without it."""
    attributes: tuple[str, ...] = ()
    """openai: the attributes that may leave this machine; the others are never sent."""
    extra: dict[str, Any] = {}
    """openai: members added to every request, as the switch that turns thinking off."""
    max_tokens: Positive = 400
    """openai: most tokens of an answer; one that needs more counts as failed."""
    concurrency: Positive = 64
    """openai: requests under way at a time."""
    budget_tokens: Positive | None = None
    """Most tokens that one run may spend, prompts and answers together."""
    timeout_s: Seconds = 120.0
    """Of one request."""
    deadline_s: Seconds = 300.0
    """Of all attempts for one user together."""

    def endpoint(self) -> Endpoint:
        """Where the writer "openai" sends its requests.

        Raises:
            ConfigError: when the key file cannot be read or is empty.
        """
        if not self.key_file:
            return Endpoint(self.base_url, timeout_s=self.timeout_s)
        try:
            key = Path(self.key_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"key_file {self.key_file}: {error}; name a readable file") from error
        if not key or not key.isprintable():
            raise ConfigError(f"key_file {self.key_file}: expected one key on one line")
        return Endpoint(self.base_url, key, self.timeout_s)


def load_settings(
    writer: WriterName, file: Path | None, environment: Mapping[str, str]
) -> WriterSettings:
    """Read the settings of a writer.

    Args:
        writer: which one.
        file: TOML with members of ``WriterSettings``; None = no file.
        environment: ``CHOIRREC_LLM_<MEMBER>`` overrides the file.

    Returns:
        The settings.

    Raises:
        ConfigError: naming the member, its value and what was expected.
    """
    members = (_read_toml(file) if file else {}) | _read_environment(environment)
    if "writer" in members:
        raise ConfigError("writer is chosen on the command line; leave it out of the settings")
    try:
        settings = msgspec.convert(members | {"writer": writer}, WriterSettings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"settings of the writer {writer}: {error}, given {members}; see docs/profiles.md"
        ) from error
    if writer == "openai":
        _check_endpoint(settings)
    return settings


def _check_endpoint(settings: WriterSettings) -> None:
    for name in ("base_url", "model", "revision"):
        if not getattr(settings, name):
            raise ConfigError(
                f"the writer openai needs {name}: set it in the TOML file or as"
                f" {PREFIX}{name.upper()}"
            )
    if not _is_address(settings.base_url):
        raise ConfigError(
            f"base_url {settings.base_url!r}, expected http://… or https://… with a host, and a"
            " port of 1 to 65535 if any"
        )
    reserved = _RESERVED & settings.extra.keys()
    if reserved:
        raise ConfigError(f"extra may not hold {sorted(reserved)}; the writer sets them itself")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; name a file that can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    members = {}
    for variable, text in environment.items():
        if variable.startswith(PREFIX) and text:
            name = variable.removeprefix(PREFIX).lower()
            try:
                members[name] = _READ.get(name, str)(text)
            except ValueError as error:
                raise ConfigError(f"{variable}={text!r}: {error}") from error
    return members
