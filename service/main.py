"""The composition root of a replica: the supervisor, its workers, the control plane, one port."""

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI

from service.api.admin import create_admin_app
from service.api.server import SHUTDOWN_S, new_loop, serve_until
from service.control.finding import NoGuards
from service.control.plane import ControlPlane, open_plane
from service.control.watch import Identity
from service.features.redis_store import RedisStore
from service.features.store import FeatureStore
from service.feedback.opening import check_log
from service.metrics import Metrics
from service.settings import Settings
from service.supervisor.child import Spawn, spawner
from service.supervisor.cores import usable_cores
from service.supervisor.ports import address, hold, listen
from service.supervisor.workers import Workers

END_S = SHUTDOWN_S + 5.0
"""For a worker to end after its drain; then it is killed."""
_CONNECTIONS = 2
"""To Redis, for questions about generations."""

_log = logging.getLogger("choirrec")


@dataclass(frozen=True, eq=False)
class Replica:
    """The parts of the supervisor's process."""

    settings: Settings
    workers: Workers
    plane: ControlPlane
    features: FeatureStore
    admin_app: FastAPI


def compose(settings: Settings, spawns: Sequence[Spawn], admin_port: int) -> Replica:
    """Wire every part; nothing is opened or spawned yet.

    Args:
        settings: what to wire by.
        spawns: how to start each worker.
        admin_port: the port that was found; names the replica among those of one machine.

    Raises:
        ValueError: when a setting names something unusable, such as an empty key file.
    """
    settings.scoring_secret()  # the workers' matter, but told here, once
    check_log(settings)
    workers = Workers(spawns)
    features = RedisStore(settings.redis_url, _CONNECTIONS, Metrics().round_trips)
    host = socket.gethostname()
    identity = Identity(f"{host}:{admin_port}", host)
    plane = open_plane(settings, workers, features, NoGuards(), identity)
    workers.in_trouble = lambda: plane.watch.trouble is not None
    app = create_admin_app(plane, workers, settings.admin_secret())
    return Replica(settings, workers, plane, features, app)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    Args:
        settings: what to serve.

    Raises:
        OSError: when a port cannot be opened.
        ValueError: as ``compose``.
    """
    count = settings.workers or usable_cores()
    with hold(settings.host, settings.port, shared=count > 1) as held:
        admin = listen(settings.admin_host, settings.admin_port)
        port = str(held.getsockname()[1])
        spawns = [
            spawner("service.worker", ["--number", str(number), "--port", port], {})
            for number in range(count)
        ]
        replica = compose(settings, spawns, admin.getsockname()[1])
        _log.info("%d workers on %s, administration on %s", count, address(held), address(admin))
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
        watching = tasks.create_task(replica.plane.watch.run())
        answering = tasks.create_task(serving)
        try:
            await replica.workers.run()
        finally:
            stopping.set()
            watching.cancel()
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
