"""The pipelined line to a real Redis, beyond what every feature store keeps."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import trustme

from service.api.server import new_loop
from service.features import redis_line
from service.features.redis_line import MOST_UNDER_WAY
from service.features.redis_store import RedisStore
from service.features.store import StoreTimeout, StoreUnavailable
from service.metrics import Metrics
from tests.fixtures.redis import RedisServer, running_redis

Answer = TypeVar("Answer")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may hang and lock."""
    with running_redis(tmp_path) as started:
        yield started


def _run(url: str, scenario: Callable[[RedisStore], Awaitable[Answer]]) -> Answer:
    async def run() -> Answer:
        store = RedisStore(url, Metrics().round_trips)
        try:
            return await scenario(store)
        finally:
            await store.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(run())


def _soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def _value(store: RedisStore) -> list[bytes | None]:
    return await store.read(["k"], _soon(5))


def test_all_callers_share_one_connection(server: RedisServer) -> None:
    """A burst opens no second connection: the server's limit is not the workers' to fill."""
    server.client().set("k", "v")

    async def scenario(store: RedisStore) -> None:
        answers = await asyncio.gather(*(_value(store) for _ in range(100)))
        assert answers == [[b"v"]] * 100

    before = int(server.client().info("stats")["total_connections_received"])
    _run(server.url, scenario)
    after = int(server.client().info("stats")["total_connections_received"])
    assert after - before == 2  # the store's, and the one that asks here


@pytest.mark.parametrize("name", ["", "reader"])
def test_password_user_and_database_of_the_url_are_used(server: RedisServer, name: str) -> None:
    """A URL says who asks and where, as for any other client."""
    client = server.client()
    client.acl_setuser(
        "reader", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"]
    )
    client.set("k", "v")
    client.move("k", 3)
    client.config_set("requirepass", "secret")
    url = f"redis://{name}:secret@127.0.0.1:{server.port}/3"
    assert _run(url, _value) == [b"v"]


def test_wrong_password_is_told(server: RedisServer) -> None:
    """Redis says what it objects to, and so does the store."""
    server.client().config_set("requirepass", "secret")
    with pytest.raises(StoreUnavailable, match="WRONGPASS"):
        _run(f"redis://:other@127.0.0.1:{server.port}/0", _value)


def test_hung_connection_is_given_up(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that vanished without a word is not waited for again and again."""
    monkeypatch.setattr(redis_line, "STALL_S", 0.02)

    async def scenario(store: RedisStore) -> None:
        await _value(store)
        server.hang()
        with pytest.raises(StoreTimeout):
            await store.read(["k"], _soon(0.05))
        assert store._line is not None
        await asyncio.sleep(0)
        assert not store._line.usable

    try:
        _run(server.url, scenario)
    finally:
        server.resume()


def test_no_more_is_asked_of_a_redis_that_owes_much(server: RedisServer) -> None:
    """While nothing comes back, waiting requests fill no memory."""

    async def scenario(store: RedisStore) -> None:
        await _value(store)
        server.hang()
        late = [asyncio.create_task(store.read(["k"], _soon(30))) for _ in range(MOST_UNDER_WAY)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="owes"):
            await store.read(["k"], _soon(30))
        server.resume()
        assert len(await asyncio.gather(*late)) == MOST_UNDER_WAY

    _run(server.url, scenario)


def test_a_redis_that_owes_too_much_for_too_long_is_left(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A herd of callers at the moment in which Redis vanishes does not keep its line alive."""
    monkeypatch.setattr(redis_line, "MOST_UNDER_WAY", 4)
    monkeypatch.setattr(redis_line, "STALL_S", 0.02)

    async def scenario(store: RedisStore) -> None:
        await _value(store)
        server.hang()
        late = [asyncio.create_task(store.read(["k"], _soon(30))) for _ in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(StoreUnavailable, match="owes"):
            await store.read(["k"], _soon(30))
        assert all(isinstance(one, StoreUnavailable) for one in await _outcomes(late))

    try:
        _run(server.url, scenario)
    finally:
        server.resume()


def test_what_cannot_be_sent_costs_nobody_an_answer(server: RedisServer) -> None:
    """Later replies belong to those who asked."""
    server.client().set("k", "v")

    async def scenario(store: RedisStore) -> None:
        await _value(store)
        with pytest.raises(UnicodeEncodeError):
            await store.read(["\ud800"], _soon(5))
        assert await _value(store) == [b"v"]

    _run(server.url, scenario)


async def _outcomes(tasks: "list[asyncio.Task[list[bytes | None]]]") -> list[object]:
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def test_whoever_is_no_redis_is_left(tmp_path: Path) -> None:
    """Bytes that are no reply end the connection, and the callers are told."""

    async def scenario() -> None:
        async def gibberish(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        listener = await asyncio.start_server(gibberish, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        store = RedisStore(f"redis://127.0.0.1:{port}", Metrics().round_trips)
        with pytest.raises(StoreUnavailable, match="Redis"):
            await store.read(["k"], _soon(5))
        await store.close()
        listener.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "memcached://x"])
def test_other_urls_are_refused(url: str) -> None:
    """A typing error shows at the start."""
    with pytest.raises(ValueError, match="redis://"):
        RedisStore(url, Metrics().round_trips)


def test_tls_is_spoken(server: RedisServer, tmp_path: Path) -> None:
    """rediss:// asks by TLS and checks who answers."""
    authority, root = trustme.CA(), tmp_path / "root.pem"
    authority.cert_pem.write_to_path(str(root))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.client().set("k", "v")

    async def scenario() -> None:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))

        listener = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
        port = listener.sockets[0].getsockname()[1]
        url = f"rediss://localhost:{port}/0"
        trusting = RedisStore(f"{url}?ssl_ca_certs={root}", Metrics().round_trips)
        assert await trusting.read(["k"], _soon(5)) == [b"v"]
        await trusting.close()
        wary = RedisStore(url, Metrics().round_trips)
        with pytest.raises(StoreUnavailable, match=r"certificate|CERTIFICATE"):
            await wary.read(["k"], _soon(5))
        await wary.close()
        listener.close()

    asyncio.run(scenario())


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()
