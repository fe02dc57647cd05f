"""The verb replay: its options, and the process that obeys it."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from service.supervisor.child import code_flags

_PROGRAM = "service.operating.replay"


def add_replay(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to a command's parser."""
    parser = commands.add_parser(
        "replay", help="score a logged request again, and say why it would be scored otherwise now"
    )
    parser.add_argument("request_id", metavar="REQUEST_ID", help="as in the answer")
    parser.add_argument("--log", type=Path, help="folder of the log; default: CHOIRREC_LOG")
    parser.add_argument("--repository", help="folder or URL; default: CHOIRREC_REPOSITORY")
    parser.add_argument(
        "--version", type=int, help="the model of now; default: the one that answered"
    )
    parser.add_argument(
        "--generation", help="the records of now; default: the newest that fit the model"
    )
    parser.add_argument("--json", action="store_true", help="JSON, every candidate")


def obey_replay(arguments: Sequence[str]) -> int:
    """Replay in a process of its own, so that no other command loads what scores.

    Args:
        arguments: of the whole command, the verb first.

    Returns:
        The exit code.
    """
    command = [sys.executable, *code_flags(), "-m", _PROGRAM, *arguments]
    return subprocess.run(command, check=False).returncode
