"""A worker: the process that answers scoring calls, told by the supervisor what to serve."""

import argparse
import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from model.desired import BadDesired
from model.repository import Repository
from service.api.app import ScoringApp
from service.api.feedback import FeedbackRoute
from service.api.sampler import Sampler
from service.api.scoring import ScoringRoute, Watcher
from service.api.served import ServedWatcher
from service.api.server import new_loop, serve_until
from service.api.wire import Limits
from service.features.breaker import GuardedStore
from service.features.redis_store import RedisStore
from service.feedback.log import ServedLog
from service.feedback.opening import open_log
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle.heap import keep_heap
from service.lifecycle.lifecycle import Lifecycle
from service.lifecycle.loading import BundleLoader
from service.logs import begin_log
from service.metrics import Metrics
from service.settings import Settings, read_settings
from service.supervisor.channel import Channel, open_channel
from service.supervisor.child import leave, own_end
from service.supervisor.cores import usable_cores
from service.supervisor.keeper import BEAT_S
from service.supervisor.messages import (
    AskMetrics,
    Bootstrap,
    Drain,
    Exposition,
    Follow,
    Listen,
    Order,
    StateReport,
    read_order,
)
from service.supervisor.ports import listen

FAILED = 1

_log = logging.getLogger("choirrec")


@dataclass(frozen=True, eq=False)
class Worker:
    """The parts of one worker that others need to hold."""

    number: int
    settings: Settings
    lifecycle: Lifecycle
    metrics: Metrics
    scoring_app: ScoringApp
    log: ServedLog | None
    sampler: Sampler | None
    """None: nothing is ever compared."""


def compose(settings: Settings, number: int, samples: Path | None = None) -> Worker:
    """Wire every part; nothing is opened yet.

    Args:
        settings: what to wire by.
        number: of the worker.
        samples: folder where comparisons listen; None: there are none.

    Raises:
        ValueError: when a setting names something unusable, such as an empty key file.
    """
    metrics = Metrics()
    redis = RedisStore(settings.redis_url, metrics.round_trips)
    loader = BundleLoader(
        Repository(settings.repository),
        settings.store,
        OnnxRuntimeBackend(settings.threads),
        settings.chunk,
        settings.workers or usable_cores(),
    )
    store = GuardedStore(redis, metrics.breaker_open)
    lifecycle = Lifecycle(settings, loader, store, metrics, number)
    limits = Limits(settings.max_candidates, settings.max_batch_requests)
    secret = settings.scoring_secret()
    log = open_log(settings, metrics)
    sampler = Sampler(samples, settings.comparison_sample, metrics) if samples else None
    watchers: list[Watcher] = [sampler] if sampler else []
    if log is not None:
        watchers.append(ServedWatcher(log, settings.chunk, settings.log_user_key()))
    route = ScoringRoute(lifecycle, metrics, limits, settings.max_body_bytes, secret, watchers)
    feedback = FeedbackRoute(log, lifecycle, metrics, settings.max_body_bytes, secret)
    app = ScoringApp(route, feedback, lifecycle, metrics, secret)
    return Worker(number, settings, lifecycle, metrics, app, log, sampler)


class Duty:
    """What a worker does from its start to its end."""

    def __init__(self, worker: Worker, channel: Channel, open_port: Callable[[], socket.socket]):
        """Begin by saying how it stands.

        Args:
            worker: the composed parts.
            channel: to the supervisor.
            open_port: listens on the scoring port.
        """
        self._worker = worker
        self._channel = channel
        self._open_port = open_port
        self._opening = asyncio.Event()
        self._stopping = asyncio.Event()
        self._listening = False
        worker.lifecycle.on_change(self._report)
        self._report()

    async def serve(self) -> None:
        """Answer scoring calls until drained, or until the supervisor has gone."""
        self._worker.lifecycle.start()
        if self._worker.log is not None:
            self._worker.log.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(self._beat()), tasks.create_task(self._obey())]
                # Another worker answers while this one has nothing to answer with.
                await self._opening.wait()
                if not self._stopping.is_set():
                    await self._answer()
                for task in others:
                    task.cancel()
        finally:
            await self._worker.lifecycle.stop()
            if self._worker.sampler is not None:
                self._worker.sampler.close()
            if self._worker.log is not None:
                await asyncio.to_thread(self._worker.log.close)
            self._channel.close()

    async def _answer(self) -> None:
        app, settings = self._worker.scoring_app, self._worker.settings
        listener = self._open_port()
        self._listening = True
        self._report()
        await serve_until(self._stopping, app, listener, settings)

    def drain(self) -> None:
        """Say not ready, go on answering for a while, then end; asked twice, nothing changes."""
        if self._worker.lifecycle.draining:
            return
        self._worker.lifecycle.draining = True
        drain_s = self._worker.settings.drain_s if self._listening else 0.0
        _log.info("draining for %g s", drain_s)
        asyncio.get_running_loop().call_later(drain_s, self._stop)

    async def _obey(self) -> None:
        while (line := await self._channel.receive()) is not None:
            try:
                self._follow(read_order(line))
            except (msgspec.DecodeError, BadDesired) as error:
                _log.error("an order of the supervisor makes no sense: %s", error)
        # The supervisor has gone, or wants an end without a drain.
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        self._opening.set()

    def _follow(self, order: Order) -> None:
        match order:
            case Follow():
                desired = order.desired()
                self._worker.lifecycle.reconcile(desired)
                if self._worker.sampler is not None:
                    self._worker.sampler.follow(desired)
            case Bootstrap(version=version):
                self._worker.lifecycle.bootstrap(version)
            case AskMetrics(id=question):
                text = self._worker.metrics.exposition().decode()
                self._channel.send(Exposition(question, text))
            case Listen():
                self._opening.set()
            case Drain():
                self.drain()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._report()

    def _report(self) -> None:
        state = self._worker.lifecycle.state()
        if state.ready:
            self._opening.set()
        ready = state.ready and self._listening
        self._channel.send(StateReport(msgspec.structs.replace(state, ready=ready)))


async def work(
    worker: Worker, end: socket.socket, open_port: Callable[[], socket.socket], *, signals: bool
) -> None:
    """Do a worker's duty from start to end.

    Args:
        worker: the composed parts.
        end: of the channel to the supervisor.
        open_port: listens on the scoring port.
        signals: whether the process's signals are its own to hear.
    """
    duty = Duty(worker, await open_channel(end), open_port)
    if signals:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, duty.drain)
        # Ctrl-C is for the supervisor, which then tells its workers.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
    await duty.serve()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker; started by the supervisor alone.

    Args:
        arguments: the channel's descriptor, the worker's number, the scoring port and the folder
            where comparisons listen.

    Returns:
        0 drained or left by the supervisor, 1 could not serve.
    """
    parser = argparse.ArgumentParser(prog="service.worker", description=main.__doc__)
    for name in ("channel", "number", "port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    options = parser.parse_args(arguments)
    begin_log(f"worker {options.number}")
    try:
        settings = read_settings()
        worker = compose(settings, options.number, options.samples)
        open_port = partial(listen, settings.host, options.port, shared=True)
        keep_heap()
        duty = work(worker, own_end(options.channel), open_port, signals=True)
        # The loop is not closed, since that would wait for a load under way.
        new_loop().run_until_complete(duty)
    except (OSError, ValueError, RuntimeError) as error:
        _log.error("%s", error)
        return FAILED
    return 0


if __name__ == "__main__":
    leave(main())
