"""The verbs: their options, and the orders and questions that they stand for."""

import argparse
from typing import Any

from service.control.orders import WHO_LENGTH, WHY_LENGTH, check_said

_EVERY_TARGET = "default: the running one's, where it is of VERSION; else the newest that fits"


def add_verbs(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add every verb to a command's parser.

    Args:
        commands: the parser's subcommands.
    """
    _add_orders(commands)
    status = commands.add_parser("status", help="what stands where, and who follows it")
    status.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    history = commands.add_parser("history", help="who changed what, when and why")
    history.add_argument("--limit", type=_count, default=20, help="revisions; default 20")
    compare = commands.add_parser("compare", help="what a canary or shadow changes, by level")
    for verb in (status, history, compare):
        verb.add_argument("--json", action="store_true", help="JSON instead of a table")
        verb.add_argument("--admin", help="URL of the admin port, http://host:port")


def order_path(options: argparse.Namespace) -> str:
    """Where the order of a verb is posted."""
    return f"/admin/{options.command}" + ("/stop" if vars(options).get("stop") else "")


def order_document(options: argparse.Namespace, who: str, why: str) -> dict[str, Any]:
    """The order of a verb.

    Args:
        options: as parsed.
        who: who asks.
        why: the reason for the audit log.

    Raises:
        ValueError: when the options do not make an order.
    """
    for option, text, most in (("--who", who, WHO_LENGTH), ("--why", why, WHY_LENGTH)):
        try:
            check_said(text, most)
        except ValueError as error:
            raise ValueError(f"{options.command}: {option} {error}") from error
    order: dict[str, Any] = {"who": who, "why": why, "within_s": options.within}
    order |= {"dry_run": options.dry_run, "force": vars(options).get("force", False)}
    if options.command == "rollback":
        return order
    if options.stop:
        if options.version is not None:
            raise ValueError(f"{options.command}: either a VERSION or --stop")
        return order
    if options.version is None:
        raise ValueError(f"{options.command}: which VERSION? Or --stop to end it")
    order |= {"version": options.version, "generation": options.generation}
    return order | _shares(options)


def _shares(options: argparse.Namespace) -> dict[str, Any]:
    if options.command == "canary":
        if options.share is None and options.testers is None:
            raise ValueError("canary: --share of the users, or --testers")
        return {"share": options.share, "testers": options.testers}
    if options.command == "shadow":
        if not options.sample:
            raise ValueError("shadow: --sample of the requests, above 0")
        return {"sample": options.sample}
    return {}


def _add_orders(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    promote = commands.add_parser(
        "promote", help="make a version ready on every worker, then champion"
    )
    promote.add_argument("--force", action="store_true", help="overrule a guard; --why says why")
    canary = commands.add_parser("canary", help="let a version answer a share of the users")
    canary.add_argument("--share", type=_share, help="of the users, 0 to 1")
    canary.add_argument(
        "--testers",
        action=argparse.BooleanOptionalAction,
        help="callers may ask for it by the header x-choirrec-canary: 1; default: as it was",
    )
    shadow = commands.add_parser("shadow", help="let a version score a sample beside the champion")
    shadow.add_argument("--sample", type=_share, help="of the requests, above 0 and at most 1")
    for verb, ended in ((promote, "what is being prepared"), (canary, "it"), (shadow, "it")):
        verb.add_argument("version", nargs="?", type=version_number, help="a positive integer")
        verb.add_argument("--generation", help=_EVERY_TARGET)
        verb.add_argument("--stop", action="store_true", help=f"end {ended}")
    rollback = commands.add_parser("rollback", help="go back to the previous champion, at once")
    rollback.add_argument("--force", action="store_true", help="even where a worker lacks it")
    for verb in (promote, canary, shadow, rollback):
        _add_manner(verb)


def _add_manner(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--why", help="the reason, for the audit log; asked for on a terminal")
    verb.add_argument("--who", help="default: user@host")
    verb.add_argument("--yes", action="store_true", help="do not ask whether to go ahead")
    verb.add_argument("--dry-run", action="store_true", help="say what would change, and no more")
    verb.add_argument(
        "--within", type=_seconds, default=120.0, help="seconds for all to be ready; default 120"
    )
    verb.add_argument("--json", action="store_true", help="JSON instead of a table")
    verb.add_argument("--admin", help="URL of the admin port, http://host:port")


def version_number(text: str) -> int:
    """A model version from the command line.

    Raises:
        argparse.ArgumentTypeError: for anything but a positive integer.
    """
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a positive integer")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number from 1 to 10000")
    return int(text)


def _share(text: str) -> float:
    return _between(text, 0.0, 1.0)


def _seconds(text: str) -> float:
    return _between(text, 0.1, 3600.0)


def _between(text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number from {low:g} to {high:g}")
    return number
