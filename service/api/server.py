"""An HTTP server on a listening socket, which leaves signals to its process."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from service.api.protocol import guarded
from service.settings import Settings

SHUTDOWN_S = 10
"""Time for requests still being answered when a port closes."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until(
    stopping: asyncio.Event,
    app: FastAPI,
    listener: socket.socket,
    settings: Settings,
    *,
    lifespan: bool,
) -> None:
    """Serve an app until told to stop, and then end the requests under way.

    Args:
        stopping: ends it.
        app: what answers.
        listener: a listening socket, closed at the end.
        settings: limits and times of connections.
        lifespan: whether the app begins and ends with the server.

    Raises:
        RuntimeError: when the app could not begin.
    """
    server = _Server(_config(app, settings, lifespan=lifespan))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    waiter = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([waiter, serving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
        server.should_exit = True
        await serving
    if not server.started:
        raise RuntimeError(f"{app.title} could not begin; the log says why")


def new_loop() -> asyncio.AbstractEventLoop:
    """The event loop to serve on: uvloop's where it is installed, as uvicorn chooses it."""
    factory = uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()
    return factory() if factory else asyncio.new_event_loop()


def _config(app: FastAPI, settings: Settings, *, lifespan: bool) -> uvicorn.Config:
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
