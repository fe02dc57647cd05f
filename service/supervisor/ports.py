"""The scoring port: found and held by the supervisor, bound again by every worker."""

import errno
import socket
import time

_PATIENCE_S = 2.0
"""For workers of an earlier supervisor, killed a moment ago, to let the port go."""
_PAUSE_S = 0.05


def hold(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket bound to the port that does not listen, so that nobody else gets it.

    Args:
        host: an address of this machine.
        port: 0 for any free one.
        shared: whether several workers will listen on it.

    Returns:
        The socket; while it is open, ``listen(..., shared=True)`` may bind beside it.

    Raises:
        OSError: naming the address, when it cannot be had or, for ``shared``, where this system
            cannot share ports.
    """
    if shared and not hasattr(socket, "SO_REUSEPORT"):
        raise OSError(
            f"cannot share {host}:{port} among workers: this system has no SO_REUSEPORT; "
            "set CHOIRREC_WORKERS=1"
        )
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _hold(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        time.sleep(_PAUSE_S)


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket, opened before anything else so that a taken port is a plain error.

    Args:
        host: an address of this machine.
        port: 0 for any free one.
        shared: whether others may listen on the same port; the kernel spreads callers over them.

    Raises:
        OSError: naming the address, when it cannot be had.
    """
    try:
        listener = _bound(host, port, shared=shared)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    listener.listen(2048)
    return listener


def address(bound: socket.socket) -> str:
    """Where a socket is bound, as ``host:port``."""
    host, port = bound.getsockname()[:2]
    return f"{host}:{port}"


def _hold(host: str, port: int) -> socket.socket:
    # A shared port would be had beside another service of the same user without a word: only a
    # socket that does not share it notices who listens there.
    with _bound(host, port, shared=False) as probe:
        free: int = probe.getsockname()[1]
    return _bound(host, free, shared=hasattr(socket, "SO_REUSEPORT"))


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle off on the connections it accepts.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
