"""Broken bundles as candidates: each is refused with its reason, and the champion is untouched."""

import asyncio
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.broken_bundles import BROKEN, Broken
from tests.fixtures.bundles import make_world, publish, write_bundle
from tests.fixtures.lifecycles import WatchedLoader, following, settled, told, wish
from tests.fixtures.redis import RedisServer

VERDICT_S = 5.0


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Path:
    """A repository with two good versions and their generation."""
    folder = tmp_path_factory.mktemp("good")
    for version in (1, 2):
        write_bundle(make_world(version), folder / str(version))
    redis = redis_server.client()
    redis.flushall()
    publish(make_world(1), redis, "a")
    return folder


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_broken_candidate_is_refused_and_the_champion_untouched(
    broken: Broken, good: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Within 5 s the exact reason is told; the champion is the very same object, and serves."""
    shutil.copytree(good, tmp_path / "repository")

    async def scenario() -> None:
        async with following(WatchedLoader(tmp_path), redis_server.url) as lifecycle:
            await settled(lifecycle, wish(1, "1/a"))
            champion = lifecycle.current("user")
            broken(tmp_path / "repository" / "2")
            began_s = time.monotonic()
            await settled(lifecycle, wish(2, "1/a", candidate="2/a"))
            assert time.monotonic() - began_s < VERDICT_S
            seen = told(lifecycle, "2/a")
            assert seen.state == "failed"
            assert lifecycle.current("user") is champion
            assert not champion.retired
            assert re.search(broken.reason, seen.reason or ""), seen.reason

    asyncio.run(scenario())
    copies = [entry.name[:2] for entry in (tmp_path / "store").iterdir() if entry.is_dir()]
    assert copies == ["1-"]
