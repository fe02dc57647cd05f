"""The composition root of a replica: the supervisor, its workers, the control plane, one port."""

import asyncio
import logging
import signal
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from model.repository import Repository
from service.api.admin import create_admin_app
from service.api.server import SHUTDOWN_S, new_loop, serve_until
from service.control.bundle_parts import BundleParts
from service.control.comparisons import Comparisons
from service.control.equity import EquityGuard
from service.control.plane import ControlPlane, open_plane
from service.control.watch import Identity
from service.features.redis_store import RedisStore
from service.features.store import FeatureStore
from service.feedback.opening import check_log
from service.lifecycle.heap import keep_heap
from service.metrics import Metrics
from service.settings import Settings
from service.supervisor.child import Spawn, spawner
from service.supervisor.cores import usable_cores
from service.supervisor.ports import address, hold, listen
from service.supervisor.workers import Workers

END_S = SHUTDOWN_S + 5.0
"""For a worker to end after its drain; then it is killed."""

_log = logging.getLogger("choirrec")


@dataclass(frozen=True, eq=False)
class Replica:
    """The parts of the supervisor's process."""

    settings: Settings
    workers: Workers
    plane: ControlPlane
    features: FeatureStore
    admin_app: FastAPI
    comparisons: Comparisons | None


def compose(
    settings: Settings, spawns: Sequence[Spawn], admin_port: int, samples: Path | None = None
) -> Replica:
    """Wire every part; nothing is opened or spawned yet.

    Args:
        settings: what to wire by.
        spawns: how to start each worker.
        admin_port: the port that was found; names the replica among those of one machine.
        samples: folder where comparisons listen; None: there are none.

    Raises:
        ValueError: when a setting names something unusable, such as an empty key file.
    """
    settings.scoring_secret()  # the workers' matter, but told here, once
    check_log(settings)
    workers = Workers(spawns)
    features = _records(settings)
    host = socket.gethostname()
    identity = Identity(f"{host}:{admin_port}", host)
    parts = BundleParts(Repository(settings.repository), settings.store)
    guard = EquityGuard(parts, settings.guard_calibration)
    plane = open_plane(settings, workers, features, guard, identity)
    workers.in_trouble = lambda: plane.watch.trouble is not None
    plane.judge.on_rollback(workers.note_rollback)
    comparisons = Comparisons(workers, plane.watch, samples) if samples else None
    if comparisons is not None:
        plane.watch.findings = lambda: plane.judge.findings() | comparisons.findings()
    app = create_admin_app(plane, workers, settings.admin_secret())
    return Replica(settings, workers, plane, features, app, comparisons)


def _records(settings: Settings) -> FeatureStore:
    try:
        return RedisStore(settings.redis_url, Metrics().round_trips)
    except ValueError as error:
        raise ValueError(f"CHOIRREC_REDIS_URL: {error}") from error


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    Args:
        settings: what to serve.

    Raises:
        OSError: when a port cannot be opened.
        ValueError: as ``compose``.
    """
    count = settings.workers or usable_cores()
    with (
        hold(settings.host, settings.port, shared=count > 1) as held,
        tempfile.TemporaryDirectory(prefix="choirrec-") as samples,
    ):
        admin = listen(settings.admin_host, settings.admin_port)
        port = str(held.getsockname()[1])
        spawns = [
            spawner(
                "service.worker",
                ["--number", str(number), "--port", port, "--samples", samples],
                {},
            )
            for number in range(count)
        ]
        replica = compose(settings, spawns, admin.getsockname()[1], Path(samples))
        _log.info("%d workers on %s, administration on %s", count, address(held), address(admin))
        keep_heap()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_supervise_as_process(replica, admin))


async def supervise(replica: Replica, admin: socket.socket) -> None:
    """Run a replica until its workers were told to end and have ended.

    Args:
        replica: the composed parts.
        admin: a listening socket for the admin app.
    """
    stopping = asyncio.Event()
    serving = serve_until(stopping, replica.admin_app, admin, replica.settings)
    async with asyncio.TaskGroup() as tasks:
        others = [
            tasks.create_task(replica.plane.watch.run()),
            tasks.create_task(replica.plane.judge.run()),
        ]
        if replica.comparisons is not None:
            others.append(tasks.create_task(replica.comparisons.run()))
        answering = tasks.create_task(serving)
        try:
            await replica.workers.run()
        finally:
            stopping.set()
            for task in others:
                task.cancel()
        await answering
    await replica.plane.store.close()
    await replica.features.close()


async def _supervise_as_process(replica: Replica, admin: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    drain_s = replica.settings.drain_s
    at_once = partial(replica.workers.hang_up, END_S)

    def drain() -> None:
        if replica.workers.draining:
            at_once()
        else:
            _log.info("draining for %g s", drain_s)
            replica.workers.drain(drain_s + END_S)

    loop.add_signal_handler(signal.SIGTERM, drain)
    loop.add_signal_handler(signal.SIGINT, at_once)
    await supervise(replica, admin)
