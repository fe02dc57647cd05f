"""The end of an HTTP server: whoever has connected is answered, and nobody else is let in."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import uvicorn
from fastapi import FastAPI

from service.api.server import new_server
from service.settings import Settings
from service.supervisor.ports import listen

pytestmark = pytest.mark.anyio

REQUEST = b"GET /word HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    """Tests run on the loop that the service runs on."""
    return "asyncio"


@dataclass(frozen=True)
class Serving:
    """A server that serves, and its port."""

    server: uvicorn.Server
    listener: socket.socket
    port: int

    def connect(self) -> socket.socket:
        """A connection that the kernel has made, whether or not the server knows of it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    async def shut_down(self) -> None:
        """End the server now."""
        await self.server.shutdown([self.listener])


def _app() -> FastAPI:
    app = FastAPI()

    @app.get("/word")
    async def word() -> str:
        return "answer"

    return app


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """A server on a port of its own."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = new_server(_app(), Settings())
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield Serving(server, listener, port)
    server.should_exit = True
    await task


async def _answer(connection: socket.socket) -> bytes:
    """Everything that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_callers_in_the_kernels_queue_are_answered(serving: Serving) -> None:
    """Connections made while the server was busy are not reset when it ends."""
    callers = [serving.connect() for _ in range(20)]
    for caller in callers:
        caller.sendall(REQUEST)
    await serving.shut_down()
    answers = [await _answer(caller) for caller in callers]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    assert all(b"connection: close" in answer.lower() for answer in answers)


async def test_request_on_its_way_over_a_fresh_connection_is_answered(serving: Serving) -> None:
    """Whoever connected before the end and asks a moment after it gets the answer."""
    connection = serving.connect()
    ending = asyncio.create_task(serving.shut_down())
    await asyncio.sleep(0.1)
    connection.sendall(REQUEST)
    assert (await _answer(connection)).startswith(b"HTTP/1.1 200")
    await ending


async def test_nobody_connects_after_the_end_has_begun(serving: Serving) -> None:
    """New callers are refused at once, rather than let in and dropped."""
    held = serving.connect()
    ending = asyncio.create_task(serving.shut_down())
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        serving.connect()
    assert await _answer(held) == b""
    await ending


async def test_kept_connection_gets_one_more_answer_and_is_closed(serving: Serving) -> None:
    """Over a kept-alive connection the last answer says so."""
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
    writer.write(REQUEST)
    first = await reader.readuntil(b'"answer"')
    assert b"connection: close" not in first.lower()
    ending = asyncio.create_task(serving.shut_down())
    await asyncio.sleep(0.1)
    writer.write(REQUEST)
    assert b"connection: close" in (await asyncio.wait_for(reader.read(), 10)).lower()
    writer.close()
    await ending
