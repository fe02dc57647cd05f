"""The command choirrec-serve: run the service, load a version into it, ask what it serves."""

import argparse
import contextlib
import http.client
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from service.main import serve
from service.settings import Settings, read_settings

OK = 0
REFUSED = 1
USAGE = 2

_LOAD_TIMEOUT_S = 3600.0


class _Refused(Exception):
    """What was asked for was refused, or could not be asked."""


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
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    # Its warnings are one line per malformed request, which anybody can send at any rate.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    try:
        settings = read_settings()
        answer = _run(options, settings)
    except ValueError as error:
        print(f"choirrec-serve: {error}", file=sys.stderr)
        return USAGE
    except (OSError, _Refused) as error:
        print(f"choirrec-serve: {error}", file=sys.stderr)
        return REFUSED
    if answer is not None:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(answer, indent=1))
    return OK


def _flush() -> None:
    """Hand over what was printed; a reader who has left, such as ``head``, is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would tell of the same error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace, settings: Settings) -> Any:
    if options.command == "run":
        serve(settings)
        return None
    admin = options.admin or f"http://{settings.admin_host}:{settings.admin_port}"
    secret = settings.admin_secret()
    if options.command == "status":
        return _ask(admin, "GET", "/admin/state", None, secret)
    order = {"version": options.version, "generation": options.generation}
    return _ask(admin, "POST", "/admin/load", order, secret)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="choirrec-serve",
        description="Serve ChoirRec bundles. Settings come from CHOIRREC_* variables.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="serve until SIGTERM or SIGINT")
    load = commands.add_parser("load", help="load a version into a running service and swap to it")
    load.add_argument("version", type=_version, help="the model version, a positive integer")
    load.add_argument("--generation", help="default: the newest one that fits the bundle")
    status = commands.add_parser("status", help="what a running service serves")
    for command in (load, status):
        command.add_argument("--admin", help="URL of the admin port, http://host:port")
    return parser


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a positive integer")
    return int(text)


def _ask(
    admin: str, method: str, path: str, document: object, secret: bytes | None
) -> dict[str, Any]:
    """Ask the admin port and return its answer; a refusal is an error with its detail."""
    url = urlsplit(admin)
    if url.scheme != "http" or url.hostname is None:
        raise ValueError(f"--admin {admin!r}, expected http://host:port")
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=_LOAD_TIMEOUT_S)
    headers = {"content-type": "application/json"}
    if secret is not None:
        headers["x-api-key"] = secret.decode()
    try:
        connection.request(method, path, json.dumps(document), headers)
        reply = connection.getresponse()
        answer: dict[str, Any] = json.loads(reply.read())
    except (OSError, http.client.HTTPException) as error:
        raise _Refused(f"no answer from {admin}: {error}; is the service running?") from error
    finally:
        connection.close()
    if reply.status != http.client.OK:
        raise _Refused(str(answer.get("detail", f"status {reply.status}")))
    return answer


if __name__ == "__main__":
    sys.exit(main())
