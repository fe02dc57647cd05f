"""The program behind the verb replay: what it tells of a logged request."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from service.feedback.attribution import ALL, Effect
from service.feedback.replay import NotReplayed, Replay, Wish, replay
from service.logs import begin_log
from service.operating.admin_client import Refused
from service.operating.replay_verb import add_replay
from service.settings import Settings, read_settings

SHOWN = 5
"""Candidates that people are told of; the JSON names all."""


def tell_replay(options: argparse.Namespace, settings: Settings) -> None:
    """Replay and print.

    Args:
        options: of the verb.
        settings: those of the service.

    Raises:
        Refused: when it cannot be replayed, or comes out otherwise than it must.
        ValueError: when no log is named.
    """
    folder = options.log or settings.log
    if folder is None:
        raise ValueError("replay: name the folder of the log by --log or CHOIRREC_LOG")
    if options.repository:
        settings = settings.model_copy(update={"repository": options.repository})
    wish = Wish(options.request_id, folder, options.version, options.generation)
    try:
        replayed = replay(settings, wish)
    except NotReplayed as error:
        raise Refused(str(error)) from error
    document = replay_document(replayed)
    print(json.dumps(document, indent=1) if options.json else replay_text(document))
    if not replayed.again.holds:
        raise Refused("the answer could not be reproduced as closely as it must be")


def replay_document(replayed: Replay) -> dict[str, Any]:
    """What came of a replay, as JSON values."""
    row, again, now = replayed.logged.row, replayed.again, replayed.now
    names = (
        *("request_id", "served_s", "user_id", "user_hashed", "user_status", "activity_level"),
        *("role", "version", "generation", "prefix", "degraded", "alpha_fusion"),
    )
    return {
        "logged": {name: row[name] for name in names} | {"answers": replayed.logged.rows},
        "again": {
            "verdict": again.verdict,
            "largest_difference": again.largest,
            "tolerance": again.tolerance,
            "same_build": again.same_build,
            "holds": again.holds,
        },
        "now": {
            "version": now.version,
            "generation": now.generation,
            "alpha_fusion": now.scores.alpha_fusion,
            "notes": list(now.notes),
            "effects": [_effect(one) for one in now.effects],
        },
        "candidates": list(_candidates(replayed)),
    }


def replay_text(document: dict[str, Any]) -> str:
    """The same for people."""
    return "\n".join([*_head(document), "", *_effects(document), "", *_most_changed(document)])


def _effect(one: Effect) -> dict[str, Any]:
    return {
        "part": one.part,
        "changed": one.changed,
        "largest_logit": float(abs(one.logit).max()),
        "mean_score": float(one.score.mean()),
    }


def _candidates(replayed: Replay) -> Iterator[dict[str, Any]]:
    was, again, now = replayed.logged.scores, replayed.again.scores, replayed.now
    for place, item_id in enumerate(replayed.logged.item_ids):
        yield {
            "item_id": item_id,
            "score": float(was.scores[place]),
            "score_again": float(again.scores[place]),
            "score_now": float(now.scores.scores[place]),
            "logit_by_part": {one.part: float(one.logit[place]) for one in now.effects},
        }


def _head(document: dict[str, Any]) -> list[str]:
    logged, again, now = document["logged"], document["again"], document["now"]
    when = datetime.fromtimestamp(logged["served_s"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    level = "unknown" if logged["activity_level"] is None else logged["activity_level"]
    verdict = {
        "equal": "bit-equal",
        "within tolerance": f"within the tolerance ({again['largest_difference']:.1e} of "
        f"{again['tolerance']:.0e})",
        "differs": f"NOT REPRODUCED: {again['largest_difference']:.1e}, more than "
        f"{again['tolerance']:.0e}",
    }[again["verdict"]]
    build = "the same build" if again["same_build"] else "another build"
    size, degraded = len(document["candidates"]), ", ".join(logged["degraded"])
    user = f"user {logged['user_status']}, activity level {level}"
    lines = [
        f"request {logged['request_id']}, {when}: {size} candidates, {user}",
        f"answered by {logged['version']}/{logged['generation']} as {logged['role']}",
    ]
    if degraded:
        lines.append(f"degraded: {degraded}")
    if logged["answers"] > 1:
        lines.append(f"its id was used {logged['answers']} times; this is the last answer")
    lines.append(f"scored again on {build}: {verdict}")
    records = now["generation"] or "the logged records"
    lines.append(f"compared with now: {now['version']}/{records}")
    return [*lines, *(f"note: {note}" for note in now["notes"])]


def _effects(document: dict[str, Any]) -> list[str]:
    lines = [f"{'exchanged':<14}{'largest change of a logit':>26}{'mean change of scores':>24}"]
    for one in document["now"]["effects"]:
        if not one["changed"]:
            lines.append(f"{one['part']:<14}{'unchanged':>26}")
            continue
        lines.append(f"{one['part']:<14}{one['largest_logit']:>26.6f}{one['mean_score']:>+24.6f}")
    return lines


def _most_changed(document: dict[str, Any]) -> list[str]:
    """The candidates whose score changed most, and what did it."""
    found: Sequence[dict[str, Any]] = sorted(
        document["candidates"], key=lambda one: -abs(one["score_now"] - one["score"])
    )
    lines = [f"{'candidate':<24}{'then':>10}{'now':>10}  changes of its logit"]
    for one in found[:SHOWN]:
        parts = {part: by for part, by in one["logit_by_part"].items() if by and part != ALL}
        told = ", ".join(f"{part} {by:+.4f}" for part, by in parts.items()) or "none by itself"
        item = one["item_id"][:22]
        lines.append(f"{item:<24}{one['score']:>10.6f}{one['score_now']:>10.6f}  {told}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Obey the verb.

    Args:
        arguments: those of ``choirrec-serve``; None: those of the process.

    Returns:
        0 reproduced, 1 refused or not reproduced, 2 wrong usage or settings.
    """
    parser = argparse.ArgumentParser(prog="choirrec-serve")
    add_replay(parser.add_subparsers(dest="command", required=True))
    options = parser.parse_args(arguments)
    begin_log()
    try:
        tell_replay(options, read_settings())
    except ValueError as error:
        print(f"choirrec-serve: {error}", file=sys.stderr)
        return 2
    except (Refused, OSError) as error:
        print(f"choirrec-serve: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
