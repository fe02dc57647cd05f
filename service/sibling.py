"""The sibling's process: compares at the lowest priority for as long as the supervisor wants it."""

import argparse
import asyncio
import logging
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from model.desired import BadDesired
from service.comparer import Comparer, compose_comparer
from service.comparison.metrics import comparison_exposition
from service.comparison.samples import (
    COMPARISON,
    LARGEST_BYTES,
    SAMPLES,
    listen_for_samples,
    read_sample,
    socket_path,
)
from service.logs import begin_log
from service.metrics import COMPARISONS
from service.settings import read_settings
from service.supervisor.channel import Channel, open_channel
from service.supervisor.child import leave, own_end
from service.supervisor.keeper import BEAT_S
from service.supervisor.messages import AskMetrics, Exposition, Findings, Follow, read_order

FAILED = 1
LOWEST_PRIORITY = 19

_log = logging.getLogger("choirrec")


class Duty:
    """What a sibling does from its start to its end."""

    def __init__(self, comparer: Comparer, channel: Channel, listener: socket.socket) -> None:
        """Join the parts.

        Args:
            comparer: compares.
            channel: to the supervisor.
            listener: where samples arrive.
        """
        self._comparer = comparer
        self._channel = channel
        self._listener = listener

    async def serve(self) -> None:
        """Compare until the supervisor hangs up."""
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._beat()), tasks.create_task(self._compare())]
            await self._obey()
            for task in others:
                task.cancel()
        self._channel.close()
        self._listener.close()

    async def _obey(self) -> None:
        while (line := await self._channel.receive()) is not None:
            try:
                self._follow(line)
            except (msgspec.DecodeError, BadDesired) as error:
                _log.error("an order of the supervisor makes no sense: %s", error)

    def _follow(self, line: bytes) -> None:
        match read_order(line):
            case Follow() as order:
                self._comparer.follow(order.desired())
            case AskMetrics(id=question):
                text = comparison_exposition(self._comparer.report())
                self._channel.send(Exposition(question, text))

    async def _beat(self) -> None:
        while True:
            found = msgspec.json.encode(self._comparer.report())
            self._channel.send(Findings(msgspec.Raw(found)))
            await asyncio.sleep(BEAT_S)

    async def _compare(self) -> None:
        """One sample after the other; those that come meanwhile wait in the socket's queue."""
        loop = asyncio.get_running_loop()
        while True:
            datagram = await loop.sock_recv(self._listener, LARGEST_BYTES)
            try:
                await self._comparer.compare(read_sample(datagram))
            except Exception:
                _log.exception("a sample could not be compared; the next one follows")
            # Orders and signs of life are not kept waiting by a full queue.
            await asyncio.sleep(0)


async def accompany(comparison: str, folder: Path, end: socket.socket) -> None:
    """Do a sibling's duty from start to end.

    Args:
        comparison: ``canary`` or ``shadow``.
        folder: where to listen for samples.
        end: of the channel to the supervisor.

    Raises:
        OSError: when it cannot listen.
        ValueError: when a setting is wrong.
    """
    comparer, lifecycle = compose_comparer(read_settings(), comparison)
    listener = listen_for_samples(socket_path(folder, comparison))
    channel = await open_channel(end)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Both are for the supervisor, which then tells its processes.
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    lifecycle.start()
    try:
        await Duty(comparer, channel, listener).serve()
    finally:
        await lifecycle.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sibling; started by the supervisor alone.

    Args:
        arguments: the channel's descriptor.

    Returns:
        0 no longer wanted, 1 could not begin.
    """
    parser = argparse.ArgumentParser(prog="service.sibling", description=main.__doc__)
    parser.add_argument("--channel", type=int, required=True)
    options = parser.parse_args(arguments)
    comparison = os.environ.get(COMPARISON, "")
    begin_log(f"{comparison} comparison")
    if comparison not in COMPARISONS:
        _log.error("%s is %r, expected one of %s", COMPARISON, comparison, COMPARISONS)
        return FAILED
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)
    try:
        folder = Path(os.environ.get(SAMPLES, "."))
        asyncio.run(accompany(comparison, folder, own_end(options.channel)))
    except (OSError, ValueError) as error:
        _log.error("%s", error)
        return FAILED
    return 0


if __name__ == "__main__":
    leave(main())
