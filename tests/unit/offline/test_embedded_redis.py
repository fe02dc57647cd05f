"""The embedded Redis: real, private, and gone when the block ends."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from offline import embedded_redis as embedding
from offline.embedded_redis import NoRedisServer, embedded_redis, find_server
from offline.redis_client import RedisClient


def test_it_answers_and_stops(tmp_path: Path) -> None:
    """Inside the block a real server answers on loopback; afterwards nothing listens there."""
    with embedded_redis(tmp_path / "redis") as server:
        client = RedisClient(server.url)
        client.put("key", "value")
        assert client.get("key") == b"value"
        assert client.memory().used > 0
        client.close()
        place = urlsplit(server.url)
        assert place.hostname == "127.0.0.1"
    assert server.process.returncode is not None
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", place.port or 0), timeout=1)


def test_nothing_stays_on_disk_but_the_log(tmp_path: Path) -> None:
    """It keeps no data: two blocks never see each other's keys."""
    for _ in range(2):
        with embedded_redis(tmp_path) as server:
            client = RedisClient(server.url)
            assert client.get("key") is None
            client.put("key", "value")
            client.close()
    assert [path.name for path in tmp_path.iterdir()] == ["redis.log"]


def test_two_servers_run_side_by_side(tmp_path: Path) -> None:
    """Each server takes a port of its own."""
    with embedded_redis(tmp_path / "a") as one, embedded_redis(tmp_path / "b") as other:
        assert one.url != other.url


def test_it_stops_when_the_block_fails(tmp_path: Path) -> None:
    """An error inside the block leaves no server behind."""
    with pytest.raises(KeyError), embedded_redis(tmp_path) as server:
        raise KeyError
    assert server.process.returncode is not None


def test_no_server_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-server and without the wheel, the error says what to install."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(embedding, "find_spec", lambda _: None)
    with pytest.raises(NoRedisServer, match="apt-get install redis-server"):
        find_server()


def test_an_installed_server_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on PATH is preferred to the bundled one."""
    monkeypatch.setattr("shutil.which", lambda _: "/opt/redis-server")
    assert find_server() == Path("/opt/redis-server")


def test_a_taken_port_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another server takes the port first, it is never mistaken for our own."""
    with embedded_redis(tmp_path / "a") as one:
        taken, free = urlsplit(one.url).port, embedding._free_port()
        ports = iter([taken, free])
        monkeypatch.setattr(embedding, "_free_port", lambda: next(ports))
        with embedded_redis(tmp_path / "b") as other:
            assert urlsplit(other.url).port == free


def test_a_server_that_dies_says_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that does not come up is reported with its last words."""
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho cannot do it\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(embedding, "find_server", lambda: program)
    with (
        pytest.raises(NoRedisServer, match="cannot do it"),
        embedded_redis(tmp_path / "redis"),
    ):
        pytest.fail("it came up")
