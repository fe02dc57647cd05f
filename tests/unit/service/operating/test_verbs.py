"""The verbs of the command line become orders; a typing mistake never becomes another order."""

import argparse

import pytest

from service.operating.verbs import add_verbs, order_document, order_path


def _parsed(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_verbs(parser.add_subparsers(dest="command", required=True))
    return parser.parse_args(line.split())


MANNER = {"who": "ann", "why": "why", "within_s": 120.0, "dry_run": False, "force": False}


@pytest.mark.parametrize(
    ("line", "path", "order"),
    [
        ("promote 2", "/admin/promote", {"version": 2, "generation": None}),
        (
            "promote 2 --generation g1 --force --within 5 --dry-run",
            "/admin/promote",
            {"version": 2, "generation": "g1", "force": True, "within_s": 5.0, "dry_run": True},
        ),
        ("promote --stop", "/admin/promote/stop", {}),
        (
            "canary 2 --share 0.05",
            "/admin/canary",
            {"version": 2, "generation": None, "share": 0.05, "testers": None},
        ),
        (
            "canary 2 --share 0.05 --no-testers",
            "/admin/canary",
            {"version": 2, "generation": None, "share": 0.05, "testers": False},
        ),
        (
            "canary 2 --testers",
            "/admin/canary",
            {"version": 2, "generation": None, "share": None, "testers": True},
        ),
        ("canary --stop", "/admin/canary/stop", {}),
        (
            "shadow 3 --sample 0.1",
            "/admin/shadow",
            {"version": 3, "generation": None, "sample": 0.1},
        ),
        ("shadow --stop", "/admin/shadow/stop", {}),
        ("rollback", "/admin/rollback", {}),
        ("rollback --force", "/admin/rollback", {"force": True}),
    ],
)
def test_verb_is_the_order_it_says(line: str, path: str, order: dict[str, object]) -> None:
    """Each verb posts what the admin API takes."""
    options = _parsed(line)
    assert order_path(options) == path
    assert order_document(options, "ann", "why") == MANNER | order


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("promote", "which VERSION"),
        ("promote 2 --stop", "either a VERSION or --stop"),
        ("canary 2", "--share of the users, or --testers"),
        ("canary --share 0.1", "which VERSION"),
        ("shadow 2", "--sample of the requests"),
        ("shadow 2 --sample 0", "--sample of the requests"),
    ],
)
def test_half_an_order_is_refused(line: str, reason: str) -> None:
    """What is missing is named."""
    with pytest.raises(ValueError, match=reason):
        order_document(_parsed(line), "ann", "why")


@pytest.mark.parametrize(
    "line",
    [
        "promote 0",
        "promote none",
        "canary 2 --share 5",
        "canary 2 --share nan",
        "canary 2 --share much",
        "shadow 2 --sample -1",
        "rollback 2",
        "canary 2 --share 0.1 --force",
        "history --limit 0",
        "promote 2 --within 0",
        "unknown",
    ],
)
def test_mistyped_option_ends_with_the_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A number out of its range, or an option of another verb, does nothing."""
    with pytest.raises(SystemExit) as caught:
        _parsed(line)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
