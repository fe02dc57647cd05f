"""An HTTP server on a listening socket, which leaves signals to its process."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from service.api.protocol import GuardedProtocol, guarded
from service.settings import Settings

SHUTDOWN_S = 10
"""Time for requests still being answered when a port closes."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the process, and nobody without an answer."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept who has connected already, listen no more, and end the requests under way.

        The kernel resets the connections that wait in the queue of a socket when it is closed.
        """
        listeners = sockets or []
        waiting = [caller for listener in listeners for caller in _accept_all(listener)]
        for server in self.servers:
            server.close()
        for listener in listeners:
            _stop_listening(listener)
        loop = asyncio.get_running_loop()
        for caller in waiting:
            await loop.connect_accepted_socket(self._last_protocol, caller)
        await super().shutdown(sockets)

    def _last_protocol(self) -> GuardedProtocol:
        # As uvicorn makes it for the connections that it accepts itself.
        protocol: GuardedProtocol = self.config.http_protocol_class(  # type: ignore[call-arg, assignment]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        protocol.leaving = True
        return protocol


async def serve_until(
    stopping: asyncio.Event, app: FastAPI, listener: socket.socket, settings: Settings
) -> None:
    """Serve an app until told to stop, and then end the requests under way.

    Args:
        stopping: ends it.
        app: what answers.
        listener: a listening socket, closed at the end.
        settings: limits and times of connections.
    """
    server = new_server(app, settings)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    waiter = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([waiter, serving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
        server.should_exit = True
        await serving


def new_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """A server that serves nowhere yet; arguments as ``serve_until``."""
    config = uvicorn.Config(
        app,
        http=guarded(settings.receipt_deadline_ms / 1000),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=int(settings.keep_alive_s),
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return _Server(config)


def new_loop() -> asyncio.AbstractEventLoop:
    """The event loop to serve on: uvloop's where it is installed, as uvicorn chooses it."""
    factory = uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()
    return factory() if factory else asyncio.new_event_loop()


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that wait in a listening socket's queue."""
    while True:
        try:
            listener.setblocking(False)
            caller, _ = listener.accept()
        except OSError:  # none is left, or it is closed
            return
        caller.setblocking(False)
        yield caller


def _stop_listening(listener: socket.socket) -> None:
    """Refuse new connections from now on; closing alone takes the event loop another turn."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
