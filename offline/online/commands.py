"""The command ``choirrec-offline online``: figures of the models that answered, from their log."""

import argparse
from pathlib import Path

from model.whole_file import whole_file
from offline.online.ab import experiments
from offline.online.arms import figures
from offline.online.reading import read_log
from offline.online.telling import Online, as_json, as_markdown

HOUR_S = 3600.0


def add_online(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--log", type=Path, required=True, help="folder of the log (CHOIRREC_LOG)")
    parser.add_argument(
        "--within-hours",
        type=_hours,
        default=24.0,
        help="outcomes up to so long after a request count, and requests that are older than that",
    )
    parser.add_argument(
        "--rows",
        choices=("clicked", "scored"),
        default="clicked",
        help="candidates with a label: those clicked, or all that were scored",
    )
    parser.add_argument("--out", type=Path, help="folder for online.md and online.json")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.set_defaults(run=_online)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected hours above 0")
    return hours


def _online(chosen: argparse.Namespace) -> None:
    joined = read_log(chosen.log, chosen.within_hours * HOUR_S, chosen.rows)
    online = Online(
        str(chosen.log),
        chosen.within_hours,
        joined,
        list(figures(joined)),
        list(experiments(joined)),
    )
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
        for name, text in (("online.md", as_markdown(online)), ("online.json", as_json(online))):
            with whole_file(chosen.out / name) as partial:
                partial.write_text(f"{text}\n", encoding="utf-8")
    print(as_json(online) if chosen.json else as_markdown(online))
