"""The channel between two processes."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from service.supervisor import channel
from service.supervisor.channel import Channel, open_channel
from service.supervisor.messages import AskMetrics, Drain, Exposition, read_order, read_report

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Tests run on the loop that the service runs on."""
    return "asyncio"


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Channel, Channel]]:
    """Both ends."""
    ours, theirs = socket.socketpair()
    ends = await open_channel(ours), await open_channel(theirs)
    yield ends
    for end in ends:
        end.close()


async def test_messages_arrive_whole_and_in_order(pair: tuple[Channel, Channel]) -> None:
    """Whatever they hold: lines of text, quotes, and more than fits the kernel's buffer."""
    ours, theirs = pair
    text = 'a{b="\u2028\n"} 1\n' * 50_000
    assert ours.send(Exposition(1, text))
    assert ours.send(AskMetrics(2))
    first, second = await theirs.receive(), await theirs.receive()
    assert read_report(first or b"") == Exposition(1, text)
    assert read_order(second or b"") == AskMetrics(2)


async def test_finished_end_still_hears(pair: tuple[Channel, Channel]) -> None:
    """Whoever has said all there is to say reads the last words of the other."""
    ours, theirs = pair
    ours.send(Drain())
    ours.finish()
    ours.finish()
    assert not ours.send(Drain())
    assert read_order(await theirs.receive() or b"") == Drain()
    assert await theirs.receive() is None
    assert theirs.send(Exposition(1, ""))
    assert await ours.receive() is not None


async def test_end_of_the_other_process_is_told(pair: tuple[Channel, Channel]) -> None:
    """A line cut short by a death is no message."""
    ours, theirs = pair
    theirs.close()
    assert await ours.receive() is None
    assert not ours.send(Drain()) or await ours.receive() is None


async def test_reader_that_hangs_does_not_pile_up_messages(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded while the other end reads nothing; nobody waits for it."""
    monkeypatch.setattr(channel, "_BEHIND_BYTES", 1000)
    ours, _ = pair
    text = "x" * 300_000
    async with asyncio.timeout(10):
        sent = [ours.send(Exposition(n, text)) for n in range(20)]
    assert sent[0]
    assert not any(sent[5:])
