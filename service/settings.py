"""Settings of the service, read from environment variables that begin with CHOIRREC_."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "CHOIRREC_"


class Settings(BaseSettings):
    """Every setting; its description is the documentation (docs/service.md)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    repository: str = Field(
        default="var/repository",
        description="Where bundles stand, as `<repository>/<version>/`: a folder or a URL",
    )
    model_version: int | None = Field(
        default=None,
        ge=1,
        description="The version to start with; default: the newest complete one",
    )
    generation: str | None = Field(
        default=None,
        description="The generation to start with; default: the newest complete one with the "
        "bundle's feature contract",
    )
    state: str | None = Field(
        default=None,
        description="Where the desired state stands: a Redis URL or a folder that all replicas "
        "share; default: the Redis that holds the records",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="Processes that score; default: one per core that this container may use",
    )
    store: Path = Field(
        default=Path("var/store"),
        description="Folder for private copies of bundles; nobody else may write there. "
        "Replicas on one machine share it: one copy, and turns at loading",
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="The Redis that holds the records: redis://, rediss:// or unix://. Options "
        "that it takes: `db`, `username`, `password`, and with rediss:// those of TLS (`ssl_…`)",
    )
    fetch_budget_ms: float = Field(
        default=20.0, gt=0, description="Time for all round trips to Redis of one request, in ms"
    )
    group_cache_entries: int = Field(
        default=4096, ge=256, description="Group priors kept in the process (about 15 KiB each)"
    )
    host: str = Field(default="127.0.0.1", description="Address of the scoring port")
    port: int = Field(default=8080, ge=0, le=65535, description="The scoring port; 0: any free one")
    admin_host: str = Field(
        default="127.0.0.1",
        description="Address of the admin port; another than loopback needs an admin key",
    )
    admin_port: int = Field(
        default=9100, ge=0, le=65535, description="The admin port; 0: any free one"
    )
    api_key: SecretStr | None = Field(
        default=None, description="Key that scoring calls must carry; default: none is asked for"
    )
    api_key_file: Path | None = Field(default=None, description="File that holds the API key")
    admin_key: SecretStr | None = Field(
        default=None, description="Key that admin calls must carry; default: none is asked for"
    )
    admin_key_file: Path | None = Field(default=None, description="File that holds the admin key")
    max_candidates: int = Field(default=1000, ge=1, description="Candidates of one request at most")
    max_batch_requests: int = Field(
        default=64, ge=1, description="Requests of one POST /score/batch at most"
    )
    max_body_bytes: int = Field(default=1 << 20, ge=1, description="Bytes of one body at most")
    receipt_deadline_ms: float = Field(
        default=5000.0,
        gt=0,
        description="Time for a whole request, headers and body, to arrive, in ms",
    )
    keep_alive_s: float = Field(
        default=30.0, gt=0, description="How long an idle connection is kept, in s"
    )
    drain_s: float = Field(
        default=5.0,
        ge=0,
        description="How long the service still answers after SIGTERM while it says it is not "
        "ready, in s",
    )
    log: Path | None = Field(
        default=None,
        description="Folder for the log of served requests and their outcomes (docs/feedback.md); "
        "default: none is kept",
    )
    log_sample: float = Field(
        default=0.01, ge=0, le=1, description="Share of the requests that are logged"
    )
    log_rotate_s: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Age at which a file of the log is closed and can be read, in s",
    )
    log_retain_bytes: int = Field(
        default=10 << 30,
        ge=1,
        description="Bytes of all files in the log's folder at most; the oldest are removed",
    )
    log_user_key_file: Path | None = Field(
        default=None,
        description="File with a key, the same on all replicas: the log then names users by a "
        "keyed hash; default: by their ids",
    )
    comparison_sample: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the requests compared between champion and canary",
    )
    guard_window_s: float = Field(
        default=30.0, gt=0, description="Time between two verdicts on a canary at least, in s"
    )
    guard_calls: int = Field(
        default=500,
        ge=1,
        description="Calls of canary and champion before errors and latency are judged",
    )
    guard_answers: int = Field(
        default=200,
        ge=1,
        description="Answers per activity level, on both sides, before scores and alpha_fusion are "
        "judged",
    )
    guard_error_excess: float = Field(
        default=0.005,
        ge=0,
        le=1,
        description="Share of failed calls by which a canary may exceed the champion",
    )
    guard_p99_ratio: float = Field(
        default=1.5, ge=1, description="The canary's p99 over the champion's at most"
    )
    guard_stability: float = Field(
        default=0.25,
        gt=0,
        description="Population stability index by which a canary's scores may lie further from "
        "its reference sketch than the champion's from its own",
    )
    guard_calibration: float = Field(
        default=0.25,
        gt=0,
        description="How far from 1 a candidate's mean prediction over mean label may lie on test "
        "rows",
    )
    threads: int = Field(default=1, ge=1, description="Threads of one graph run")
    chunk: int = Field(default=125, ge=1, description="Candidates of one graph run, about")

    @model_validator(mode="after")
    def _keys_are_clear(self) -> Self:
        for name in ("api_key", "admin_key"):
            if getattr(self, name) and getattr(self, f"{name}_file"):
                raise ValueError(f"set {name} or {name}_file, not both")
        if not _is_loopback(self.admin_host) and not (self.admin_key or self.admin_key_file):
            raise ValueError(
                f"admin_host {self.admin_host!r} is not loopback: set admin_key or admin_key_file"
            )
        return self

    def scoring_secret(self) -> bytes | None:
        """The key of scoring calls, or None when none is asked for.

        Raises:
            ValueError: when the key's file cannot be read or is empty.
        """
        return _secret(self.api_key, self.api_key_file)

    def log_user_key(self) -> bytes | None:
        """The key that hides users in the log, or None; errors as ``scoring_secret``."""
        return _secret(None, self.log_user_key_file)

    def admin_secret(self) -> bytes | None:
        """The key of admin calls, or None; errors as ``scoring_secret``."""
        return _secret(self.admin_key, self.admin_key_file)


def read_settings() -> Settings:
    """Settings from the environment.

    Raises:
        ValueError: one line per setting that is wrong, with the variable's name.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False)]
        raise ValueError("\n".join(lines)) from error


def settings_table() -> str:
    """The table of settings as Markdown, for the documentation."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_spelled(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _spelled(default: object) -> str:
    return "" if default is None else f"`{default}`"


def _variable(location: tuple[int | str, ...]) -> str:
    return f"{PREFIX}{str(location[0]).upper()}" if location else "settings"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secret(value: SecretStr | None, file: Path | None) -> bytes | None:
    if value is not None:
        return value.get_secret_value().encode()
    if file is None:
        return None
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise ValueError(f"key file {file}: {error.strerror}") from error
    if not secret:
        raise ValueError(f"key file {file} is empty; write the key into it")
    return secret
