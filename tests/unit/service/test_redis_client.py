"""The URL of a Redis: what it may say is used, what it may not say is told at the start."""

from pathlib import Path

import pytest

from service.redis_client import connect, read_url

PLACE = "redis://localhost:6379"
SECURE = "rediss://localhost:6379"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"{SECURE}?max_connections=10", "option 'max_connections'"),
        (f"{SECURE}?timeout=3", "option 'timeout'"),
        (f"{PLACE}?timeout=3", "option 'timeout'"),
        (f"{PLACE}?decode_responses=true", "option 'decode_responses'"),
        (f"{PLACE}?bogus=1&socket_timeout=9", "options 'bogus', 'socket_timeout'"),
        (f"{PLACE}?ssl_cert_reqs=none", "option 'ssl_cert_reqs' needs rediss://"),
        (f"{PLACE}?db=two", "db='two'"),
        (f"{SECURE}?ssl_cert_reqs=bogus", "ssl_cert_reqs='bogus': .*Requirements"),
        (f"{SECURE}?ssl_ca_certs=/none", "ssl_ca_certs='/none': .*No such file"),
        (f"{SECURE}?ssl_ciphers=bogus", "ssl_ciphers='bogus'"),
        (f"{SECURE}?ssl_min_version=2", "ssl_min_version='2'"),
        (f"{SECURE}?ssl_min_version=new", "ssl_min_version='new'"),
        (f"{SECURE}?ssl_include_verify_flags=bogus", "ssl_include_verify_flags='bogus'"),
        ("redis://localhost:port", "port"),
        ("http://localhost", "redis://"),
    ],
)
def test_what_a_url_may_not_say_is_named(url: str, told: str) -> None:
    """Records and state are asked by the same URLs, and refuse the same ones in the same words."""
    for read in (read_url, lambda url: connect(url, 1)):
        with pytest.raises(ValueError, match=told):
            read(url)


def test_secrets_of_a_url_are_not_told() -> None:
    """What is refused goes into logs, passwords do not."""
    url = "rediss://ann:hidden@localhost?password=hidden&ssl_password=hidden&ssl_certfile=/none"
    with pytest.raises(ValueError, match="ssl_certfile='/none'") as told:
        read_url(url)
    assert "hidden" not in str(told.value)


def test_what_a_url_may_say_is_used(tmp_path: Path) -> None:
    """Who asks, which database and how TLS is checked may stand in the URL."""
    server = read_url(f"{SECURE}/1?db=3&ssl_cert_reqs=none&username=ann&password=secret")
    assert (server.database, server.username, server.password) == (3, "ann", "secret")
    assert server.tls is not None
    assert not server.tls.check_hostname
    assert read_url(f"unix://{tmp_path}/redis.sock?db=2").path == f"{tmp_path}/redis.sock"
    assert connect(f"{SECURE}?ssl_cert_reqs=none", 1) is not None
