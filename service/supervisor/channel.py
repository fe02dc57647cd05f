"""The channel: one end of the socket pair between the supervisor and one of its processes."""

import asyncio
import socket

import msgspec

LIMIT_BYTES = 1 << 26
"""Of one message; an exposition has some hundred kilobytes."""
_BEHIND_BYTES = 1 << 20


class Channel:
    """Sends and receives lines; the end of the other process is the end of the stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join the two directions; use ``open_channel``."""
        self._reader = reader
        self._writer = writer
        self._finished = False

    def send(self, message: msgspec.Struct) -> bool:
        """Send a message without ever waiting.

        Returns:
            Whether it was sent; False: the other end is gone, or has not read for so long that
            more would only pile up.
        """
        transport = self._writer.transport
        behind = transport.get_write_buffer_size() > _BEHIND_BYTES
        if self._finished or behind or transport.is_closing():
            return False
        self._writer.write(msgspec.json.encode(message) + b"\n")
        return True

    async def receive(self) -> bytes | None:
        """The next message; None: the other end is gone."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):
            # ValueError: a line beyond the limit. Whoever sends such lines is as good as gone.
            return None
        return line if line.endswith(b"\n") else None

    def finish(self) -> None:
        """Say that nothing follows; what the other end still says is heard."""
        if not self._finished and not self._writer.transport.is_closing():
            self._writer.write_eof()
        self._finished = True

    def close(self) -> None:
        """End both directions; the other end reads what was sent before."""
        self._writer.close()


async def open_channel(end: socket.socket) -> Channel:
    """Use one end of a stream socket pair, which belongs to the channel from now on."""
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=LIMIT_BYTES)
    return Channel(reader, writer)
