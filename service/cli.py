"""The command choirrec-serve: run the service, and operate one that runs."""

import argparse
import os
import sys
from collections.abc import Sequence

from service.logs import begin_log
from service.main import serve
from service.operating.admin_client import AdminClient, Refused
from service.operating.replay_verb import add_replay, obey_replay
from service.operating.terminal import (
    carry_out,
    tell_comparison,
    tell_history,
    tell_refusal,
    tell_status,
)
from service.operating.verbs import add_verbs
from service.settings import Settings, read_settings

OK = 0
REFUSED = 1
USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None: those of the process.

    Returns:
        0 done, 1 refused or unreachable, 2 wrong usage or settings.
    """
    try:
        return _obey(arguments)
    finally:
        _flush()


def _obey(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.command == "replay":
        return obey_replay(sys.argv[1:] if arguments is None else arguments)
    begin_log()
    try:
        _run(options, read_settings())
    except ValueError as error:
        print(f"choirrec-serve: {error}", file=sys.stderr)
        return USAGE
    except Refused as refusal:
        tell_refusal(refusal, as_json=options.json)
        return REFUSED
    except OSError as error:
        print(f"choirrec-serve: {error}", file=sys.stderr)
        return REFUSED
    return OK


def _flush() -> None:
    """Hand over what was printed; a reader who has left, such as ``head``, is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would tell of the same error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace, settings: Settings) -> None:
    if options.command == "run":
        serve(settings)
        return
    admin = options.admin or f"http://{settings.admin_host}:{settings.admin_port}"
    client = AdminClient(admin, settings.admin_secret())
    if options.command == "status":
        tell_status(options, client)
    elif options.command == "history":
        tell_history(options, client)
    elif options.command == "compare":
        tell_comparison(options, client)
    else:
        carry_out(options, client)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="choirrec-serve",
        description="Serve ChoirRec bundles. Settings come from CHOIRREC_* variables.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="serve until SIGTERM or SIGINT")
    add_verbs(commands)
    add_replay(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
