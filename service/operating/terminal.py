"""The terminal: asking for a reason and for consent, and telling what came of it."""

import argparse
import contextlib
import getpass
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from service.logs import one_line
from service.operating.admin_client import AdminClient, Refused
from service.operating.comparison_table import comparison_text
from service.operating.tables import history_text, outcome_text, status_text, verdict_lines
from service.operating.verbs import order_document, order_path

WATCH_S = 1.0
_GUARD_REFUSES = "the guard refuses; nothing was changed; --force overrules it"
_CLEAR = "\x1b[2J\x1b[H"


def carry_out(options: argparse.Namespace, client: AdminClient) -> None:
    """Give an order, once whoever gives it has seen what it does and agreed.

    Args:
        options: of a verb.
        client: of the admin port.

    Raises:
        ValueError: when something is missing that only a terminal could be asked for.
        Refused: when the service or the operator refuses.
    """
    order = order_document(options, options.who or _operator(), _reason(options))
    path = order_path(options)
    if not (options.yes or options.dry_run):
        plan = _plan(options, client, path, order)
        if plan["result"] == "already":
            _tell(plan, outcome_text, as_json=options.json)
            return
        _agree(plan, order)
        order |= _as_shown(plan, order)
    try:
        answer = client.post(path, order, options.within)
    except KeyboardInterrupt:
        raise Refused("interrupted; the order goes on, see choirrec-serve status") from None
    if options.dry_run and _is_refused(answer, order):
        if not options.json:
            _tell(answer, outcome_text, as_json=False)
        raise Refused(_GUARD_REFUSES, answer if options.json else None)
    _tell(answer, outcome_text, as_json=options.json)


def tell_status(options: argparse.Namespace, client: AdminClient) -> None:
    """Print what stands where, once or until interrupted; raises Refused."""
    if not options.watch:
        _tell(client.get("/admin/state"), status_text, as_json=options.json)
        return
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            answer = client.get("/admin/state")
            print(_CLEAR if sys.stdout.isatty() else "", end="")
            _tell(answer, status_text, as_json=options.json)
            sys.stdout.flush()
            time.sleep(WATCH_S)


def tell_history(options: argparse.Namespace, client: AdminClient) -> None:
    """Print the audit log; raises Refused."""
    answer = client.get(f"/admin/history?limit={options.limit}")
    _tell(answer, history_text, as_json=options.json)


def tell_comparison(options: argparse.Namespace, client: AdminClient) -> None:
    """Print what a canary or shadow changes; raises Refused."""
    _tell(client.get("/admin/comparison"), comparison_text, as_json=options.json)


def tell_refusal(refusal: Refused, *, as_json: bool) -> None:
    """Print a refusal: its words and every verdict on stderr, or the document on stdout."""
    if as_json:
        print(json.dumps(refusal.problem, indent=1))
    print(f"choirrec-serve: {one_line(str(refusal))}", file=sys.stderr)
    if verdicts := refusal.problem.get("verdicts"):
        print("\n".join(verdict_lines(verdicts)), file=sys.stderr)


def _plan(
    options: argparse.Namespace, client: AdminClient, path: str, order: Mapping[str, Any]
) -> Mapping[str, Any]:
    if not sys.stdin.isatty():
        raise ValueError(f"{options.command}: nobody can be asked here; add --yes or --dry-run")
    plan: Mapping[str, Any] = client.post(path, {**order, "dry_run": True}, options.within)
    return plan


def _as_shown(plan: Mapping[str, Any], order: Mapping[str, Any]) -> dict[str, Any]:
    """What binds an order to the plan that was agreed to, whatever others do meanwhile."""
    shown = {"revision": plan["revision"]}
    return shown | ({"generation": plan["generation"]} if "generation" in order else {})


def _agree(plan: Mapping[str, Any], order: Mapping[str, Any]) -> None:
    print(outcome_text(plan), file=sys.stderr)
    if _is_refused(plan, order):
        raise Refused(_GUARD_REFUSES, plan)
    if _asked("Go ahead? [y/N] ").lower() not in ("y", "yes"):
        raise Refused("nothing was changed")


def _is_refused(plan: Mapping[str, Any], order: Mapping[str, Any]) -> bool:
    return bool(plan["guard"]["refused"]) and not order["force"]


def _reason(options: argparse.Namespace) -> str:
    if options.why is None and sys.stdin.isatty():
        options.why = _asked("Why? ")
    if options.why is None or not options.why.strip():
        raise ValueError(f"{options.command}: say the reason for the audit log by --why")
    return str(options.why).strip()


def _asked(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    try:
        return sys.stdin.readline().strip()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        raise Refused("interrupted; nothing was changed") from None


def _operator() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _tell(answer: Any, text: Callable[[Any], str], *, as_json: bool) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer, indent=1) if as_json else text(answer))
