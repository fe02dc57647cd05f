"""Settings from the environment."""

from pathlib import Path

import pytest

from service.settings import Settings, read_settings


def test_wrong_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator reads the name of the variable to mend, not of a field."""
    monkeypatch.setenv("CHOIRREC_PORT", "eighty")
    with pytest.raises(ValueError, match="CHOIRREC_PORT: Input should be a valid integer"):
        read_settings()


def test_admin_port_off_loopback_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody opens the admin port to a network by accident."""
    monkeypatch.setenv("CHOIRREC_ADMIN_HOST", "0.0.0.0")  # noqa: S104
    with pytest.raises(ValueError, match="not loopback: set admin_key"):
        read_settings()
    monkeypatch.setenv("CHOIRREC_ADMIN_KEY", "secret")
    assert read_settings().admin_secret() == b"secret"


def test_key_may_stand_in_a_file(tmp_path: Path) -> None:
    """A mounted secret works, its closing newline does not matter."""
    (tmp_path / "key").write_text("secret\n")
    assert Settings(api_key_file=tmp_path / "key").scoring_secret() == b"secret"


def test_missing_or_empty_key_file_is_an_error(tmp_path: Path) -> None:
    """A service whose secret is lost does not start open."""
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        Settings(api_key_file=tmp_path / "empty").scoring_secret()
    with pytest.raises(ValueError, match="No such file"):
        Settings(api_key_file=tmp_path / "none").scoring_secret()


def test_key_and_key_file_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sources of one secret are refused, rather than one chosen silently."""
    monkeypatch.setenv("CHOIRREC_API_KEY", "a")
    monkeypatch.setenv("CHOIRREC_API_KEY_FILE", str(tmp_path / "b"))
    with pytest.raises(ValueError, match="not both"):
        read_settings()


def test_secrets_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings may be logged without giving a key away."""
    monkeypatch.setenv("CHOIRREC_API_KEY", "hush-hush")
    assert "hush-hush" not in repr(read_settings())
