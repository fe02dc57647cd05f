"""The scoring port: held once, listened on by several."""

import socket

import pytest

from service.supervisor.ports import address, hold, listen

HOST = "127.0.0.1"


def test_workers_share_a_held_port_and_callers_reach_all() -> None:
    """Port 0 becomes one port for all workers, and connections spread over them."""
    with hold(HOST, 0, shared=True) as held:
        port = held.getsockname()[1]
        with listen(HOST, port, shared=True) as one, listen(HOST, port, shared=True) as two:
            assert address(one) == address(two) == f"{HOST}:{port}"
            callers = [socket.create_connection((HOST, port), timeout=5) for _ in range(100)]
            counts = [_accepted(listener) for listener in (one, two)]
            for caller in callers:
                caller.close()
    assert sum(counts) == 100
    assert min(counts) > 10


def test_nobody_is_answered_by_a_held_port() -> None:
    """While no worker listens, callers are refused at once rather than left waiting."""
    with hold(HOST, 0, shared=True) as held, pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, held.getsockname()[1]), timeout=5)


def test_port_of_another_service_is_not_shared() -> None:
    """A second service on the same port is an error, although the kernel would let it in."""
    with listen(HOST, 0, shared=True) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on {HOST}:{port}: .*in use"):
            hold(HOST, port, shared=True)


def test_address_of_another_machine_is_told() -> None:
    """The error names the address."""
    with pytest.raises(OSError, match=r"cannot listen on 203\.0\.113\.7:80"):
        hold("203.0.113.7", 80, shared=False)
    with pytest.raises(OSError, match=r"cannot listen on 203\.0\.113\.7:80"):
        listen("203.0.113.7", 80)


def test_system_without_shared_ports_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ports cannot be shared, one worker serves and more are a plain error."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(OSError, match="set CHOIRREC_WORKERS=1"):
        hold(HOST, 0, shared=True)
    with hold(HOST, 0, shared=False) as held:
        assert held.getsockname()[1] > 0


def _accepted(listener: socket.socket) -> int:
    listener.setblocking(False)
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
