"""Tables for people: what the admin port answers, as lines of text."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from service.control.convergence import COMPARER, NO_WORKER
from service.logs import one_line

_NONE = "-"
_WORKERS = {NO_WORKER: None, COMPARER: "comparison"}


def outcome_text(outcome: Mapping[str, Any]) -> str:
    """What came of an order, or would come of it.

    Args:
        outcome: the answer of the admin port.

    Returns:
        Lines: warnings, the result, the roles that change, the guard's words, every verdict.
    """
    warnings = warning_lines(outcome["warnings"])
    lines = [*warnings, _headline(outcome), "", *_role_lines(outcome["before"], outcome["after"])]
    lines += guard_lines(outcome["guard"])
    if outcome["verdicts"]:
        lines += ["", *verdict_lines(outcome["verdicts"])]
    return "\n".join(lines)


def verdict_lines(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per worker, under a head."""
    rows = [
        (
            v["replica"],
            _WORKERS.get(v["worker"], v["worker"]),
            v["revision"],
            v["state"],
            _seconds(v["seconds"]),
            v["reason"],
        )
        for v in verdicts
    ]
    return table(("replica", "worker", "revision", "state", "loaded in", "reason"), rows)


def guard_lines(guard: Mapping[str, Any]) -> list[str]:
    """What a guard says; nothing when it has nothing to say."""
    head = "the guard refuses:" if guard["refused"] else "the guard says:"
    return ["", head, *(f"  {reason}" for reason in guard["reasons"])] if guard["reasons"] else []


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """What somebody must not overlook; nothing when there is nothing."""
    return [*(f"WARNING: {one_line(warning)}" for warning in warnings), ""] if warnings else []


def status_text(status: Mapping[str, Any]) -> str:
    """What stands where: the roles, the last change, each worker of each replica, the shadow."""
    lines = warning_lines(status["warnings"])
    if status["trouble"]:
        lines += [f"TROUBLE: {one_line(status['trouble'])}", ""]
    desired = status["desired"]
    if desired is None:
        lines.append("no desired state yet")
    else:
        change = desired["change"]
        lines += [f"{role:<10}{name}" for role, name in status["roles"].items() if name]
        lines += ["", f"revision {desired['revision']}, {_moment(change['when_s'])}: "]
        lines[-1] += one_line(f"{change['action']} by {change['who']}: {change['why']}")
        following = "every worker follows it" if status["converged"] else "NOT YET FOLLOWED by all"
        lines.append(following)
    lines += ["", *_replica_lines(status["replicas"])]
    if status["shadow"]:
        lines += ["", f"shadow {status['roles']['shadow']}:", *verdict_lines(status["shadow"])]
    return "\n".join(lines)


def history_text(history: Sequence[Mapping[str, Any]]) -> str:
    """The audit log, newest first."""
    rows = [
        (
            entry["revision"],
            _moment(entry["change"]["when_s"]),
            entry["change"]["who"],
            entry["change"]["action"] + (" (forced)" if entry["change"]["forced"] else ""),
            _target(entry["champion"]),
            _target((entry["canary"] or {}).get("target")),
            entry["change"]["why"],
        )
        for entry in history
    ]
    head = ("revision", "when (UTC)", "who", "action", "champion", "canary", "why")
    return "\n".join(table(head, rows))


def _headline(outcome: Mapping[str, Any]) -> str:
    said = {"done": "done", "already": "nothing to do", "planned": "would change"}
    result = said[outcome["result"]]
    return f"{outcome['action']}: {result}, revision {outcome['revision']}" + (
        f", {outcome['seconds']:.1f} s" if outcome["result"] == "done" else ""
    )


def _role_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    rows = [
        (role, before[role], after[role] if after[role] != before[role] else "unchanged")
        for role in before
        if before[role] or after[role]
    ]
    return table(("role", "before", "after"), rows)


def _replica_lines(replicas: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = []
    for replica in replicas:
        rows += [_worker_row(replica, worker) for worker in replica["workers"]]
        if not replica["workers"]:
            rows.append((replica["replica"], None, None, None, None, None, "no worker runs"))
    return table(("replica", "worker", "pid", "revision", "champion", "canary", "targets"), rows)


def _worker_row(replica: Mapping[str, Any], worker: Mapping[str, Any]) -> tuple[Any, ...]:
    targets = [
        f"{t['version']}/{t['generation']} {t['state']}" + (f": {t['reason']}" * bool(t["reason"]))
        for t in worker["targets"]
    ]
    state = ["draining"] if worker["draining"] else [] if worker["ready"] else ["not ready"]
    return (
        replica["replica"],
        worker["worker"],
        worker["pid"],
        worker["revision"],
        worker["champion"],
        worker["canary"],
        ", ".join([*state, *targets]),
    )


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of aligned columns under a head; None is a dash."""
    cells = [
        tuple(head),
        *(tuple(_NONE if c is None else one_line(str(c)) for c in row) for row in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _moment(when_s: float) -> str:
    return f"{datetime.fromtimestamp(when_s, UTC):%Y-%m-%d %H:%M:%S}"


def _seconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.1f} s"


def _target(target: Mapping[str, Any] | None) -> str | None:
    return None if target is None else f"{target['version']}/{target['generation']}"
