"""The composition root: what is wired to what, and how the process begins and ends."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from model.repository import Repository
from service.api.admin import create_admin_app
from service.api.app import ScoringApp
from service.api.protocol import guarded
from service.api.scoring import ScoringRoute
from service.api.wire import Limits
from service.features.breaker import GuardedStore
from service.features.redis_store import RedisStore
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle.loading import BundleLoader
from service.lifecycle.solo import Solo
from service.metrics import Metrics
from service.settings import Settings

SHUTDOWN_S = 10
"""Time for requests still being answered when the ports close."""

_log = logging.getLogger("choirrec")


@dataclass(frozen=True, eq=False)
class Service:
    """The parts of one process that others need to hold."""

    lifecycle: Solo
    scoring_app: ScoringApp
    admin_app: FastAPI


def compose(settings: Settings) -> Service:
    """Wire every part; nothing is opened yet.

    Args:
        settings: what to wire by.

    Returns:
        The two apps and the lifecycle they share.

    Raises:
        ValueError: when a setting names something unusable, such as an empty key file.
    """
    metrics = Metrics()
    redis = RedisStore(settings.redis_url, settings.redis_connections, metrics.round_trips)
    store = GuardedStore(redis, metrics.breaker_open)
    loader = BundleLoader(
        Repository(settings.repository),
        settings.store,
        OnnxRuntimeBackend(settings.threads),
        settings.chunk,
    )
    lifecycle = Solo(settings, loader, store, metrics)
    limits = Limits(settings.max_candidates, settings.max_batch_requests)
    secret = settings.scoring_secret()
    route = ScoringRoute(lifecycle, metrics, limits, settings.max_body_bytes, secret)
    return Service(
        lifecycle=lifecycle,
        scoring_app=ScoringApp(route, lifecycle, metrics, secret),
        admin_app=create_admin_app(lifecycle, metrics, settings.admin_secret()),
    )


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    Args:
        settings: what to serve.

    Raises:
        OSError: when a port cannot be opened.
        ValueError: as ``compose``.
    """
    service = compose(settings)
    scoring = listen(settings.host, settings.port)
    admin = listen(settings.admin_host, settings.admin_port)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_run(settings, service, scoring, admin))


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until(
    stopping: asyncio.Event,
    settings: Settings,
    service: Service,
    scoring: socket.socket,
    admin: socket.socket,
) -> None:
    """Serve both apps on this loop until told to stop.

    Args:
        stopping: ends it, once requests being answered have ended.
        settings: limits and times.
        service: the composed parts.
        scoring: a listening socket for the scoring app.
        admin: a listening socket for the admin app.
    """
    servers = [
        _Server(_config(settings, service.scoring_app, lifespan=True)),
        _Server(_config(settings, service.admin_app, lifespan=False)),
    ]
    pairs = zip(servers, (scoring, admin), strict=True)
    serving = [asyncio.create_task(server.serve(sockets=[port])) for server, port in pairs]
    waiter = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiter, *serving], return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.should_exit = True
    waiter.cancel()
    await asyncio.gather(*serving)


async def _run(
    settings: Settings, service: Service, scoring: socket.socket, admin: socket.socket
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stopping.set)
    loop.add_signal_handler(signal.SIGTERM, _begin_drain, service, settings.drain_s, stopping.set)
    _log.info("scoring on %s, administration on %s", _address(scoring), _address(admin))
    await serve_until(stopping, settings, service, scoring, admin)


def _begin_drain(service: Service, drain_s: float, stop: Callable[[], None]) -> None:
    """Say not ready, go on answering for a while, then stop; asked twice, stop at once."""
    if service.lifecycle.draining:
        stop()
        return
    service.lifecycle.draining = True
    _log.info("draining for %g s", drain_s)
    asyncio.get_running_loop().call_later(drain_s, stop)


def _config(settings: Settings, app: FastAPI, *, lifespan: bool) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=guarded(settings.receipt_deadline_ms / 1000),
        ws="none",
        lifespan="on" if lifespan else "off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=int(settings.keep_alive_s),
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def new_loop() -> asyncio.AbstractEventLoop:
    """The event loop to serve on: uvloop's where it is installed, as uvicorn chooses it."""
    factory = uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()
    return factory() if factory else asyncio.new_event_loop()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, opened before anything else so that a taken port is a plain error.

    Args:
        host: an address of this machine.
        port: 0 for any free one.

    Raises:
        OSError: naming the address, when it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle off on the connections it accepts.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}"
