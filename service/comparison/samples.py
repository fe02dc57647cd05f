"""Samples: scored requests handed to the comparison by datagrams that never wait."""

import contextlib
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

COMPARISON, SAMPLES = "CHOIRREC_SIBLING", "CHOIRREC_SIBLING_SAMPLES"
"""Variables that tell a sibling what to compare, and the folder where it listens."""
LARGEST_BYTES = 1 << 20
"""Of one sample; the system may take less."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One checked scoring request, at the moment it was answered for."""

    user_id: str
    item_ids: Sequence[str]
    time_s: int
    hour: int
    weekday: int
    attributes: Mapping[str, Any] | None
    request_id: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Sample).decode


def socket_path(folder: Path, comparison: str) -> Path:
    """Where a comparison listens.

    Args:
        folder: of the replica, which nobody else may enter.
        comparison: ``canary`` or ``shadow``.
    """
    return folder / f"{comparison}.sock"


class SampleSender:
    """Hands samples to comparisons; what cannot be taken at once is dropped."""

    def __init__(self, folder: Path) -> None:
        """Open a socket.

        Args:
            folder: where comparisons listen.
        """
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, sample: Sample, comparison: str) -> bool:
        """Hand over one sample without waiting.

        Returns:
            Whether it was taken; False: there is no room, nobody listens, or it is too large.
        """
        try:
            self._socket.sendto(_encode(sample), str(socket_path(self._folder, comparison)))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def listen_for_samples(path: Path) -> socket.socket:
    """A socket that samples arrive at; whoever listened there before hears nothing any more.

    Args:
        path: as ``socket_path`` gives it.

    Raises:
        OSError: when it cannot be opened.
    """
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.setblocking(False)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    return listener


def read_sample(datagram: bytes) -> Sample:
    """What was sent.

    Raises:
        msgspec.DecodeError: when it is no sample.
    """
    return _decode(datagram)
