"""Children: processes spawned from this very code, with one end of a channel."""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")
}


class Child(Protocol):
    """A process that runs, or has run."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def kill(self) -> None:
        """End it at once; nothing happens when it has ended."""
        ...

    async def ended(self) -> int:
        """Wait for its end; its exit code, or minus the signal that ended it."""
        ...


class Spawn(Protocol):
    """Starts a child that owns the other end of a channel."""

    def __call__(self, end: socket.socket) -> Child:
        """Start it.

        Args:
            end: the child's end; closed here once the child has it.

        Raises:
            OSError: when no process can be started.
        """
        ...


class SpawnedProcess:
    """A child in a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        """Watch a process that was started."""
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    async def ended(self) -> int:
        """Wait for its end."""
        # Its channel has ended, or it was killed: the wait is short.
        return await asyncio.to_thread(self._process.wait)


def spawner(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Spawn:
    """Starts ``python -m module --channel FD arguments``.

    Args:
        module: of this code, with a command line.
        arguments: after the channel's.
        environment: variables beside this process's own.
    """

    def spawn(end: socket.socket) -> SpawnedProcess:
        with end:
            command = [sys.executable, *code_flags(), "-m", module, "--channel", str(end.fileno())]
            # A group of its own: Ctrl-C in a terminal is for the supervisor alone to hear.
            process = subprocess.Popen(
                [*command, *arguments],
                env={**os.environ, **_ONE_THREAD, **environment},
                pass_fds=[end.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        return SpawnedProcess(process)

    return spawn


def own_end(descriptor: int) -> socket.socket:
    """The child's end of its channel, by the number it was started with.

    Args:
        descriptor: of the inherited socket.

    Raises:
        OSError: when it is no socket.
    """
    # Children of the child must not keep the stream open after its end.
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def leave(code: int) -> None:
    """End this process now, whatever its threads are doing.

    Args:
        code: its exit code.
    """
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def code_flags() -> list[str]:
    """Flags by which a new interpreter finds the code where this process found it.

    Returns:
        -P, unless this process itself was started from the folder that holds the code.
    """
    here = sys.path[:1] in ([""], [str(Path.cwd())])
    return [] if here else ["-P"]
