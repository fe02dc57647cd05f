"""The bundle check: what the service would refuse is refused without one, in the same words."""

import shutil
import time
from pathlib import Path

import pytest

from model.bundle import BrokenBundle, Bundle
from offline.bundle_check import check_bundle
from tests.broken_bundles import BROKEN
from tests.fixtures.bundles import make_world, write_bundle


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody harms."""
    folder = tmp_path_factory.mktemp("intact") / "1"
    write_bundle(make_world(), folder)
    return folder


@pytest.fixture
def folder(intact: Path, tmp_path: Path) -> Path:
    """A copy of it to harm."""
    return Path(shutil.copytree(intact, tmp_path / "1"))


def test_good_bundles_pass(intact: Path, bundle: Bundle) -> None:
    """A bundle that serves is not refused here, whether made by hand or by the export."""
    assert check_bundle(intact).manifest.model_version == 1
    assert check_bundle(bundle.folder).digest == bundle.digest


@pytest.mark.parametrize(
    "kind", ["flipped bit", *(kind for kind, broken in BROKEN.items() if broken.files_pass)]
)
def test_what_only_running_shows_is_refused(folder: Path, kind: str) -> None:
    """Answers are checked as files are: each damage has its reason, within five seconds."""
    BROKEN[kind](folder)
    started = time.monotonic()
    with pytest.raises(BrokenBundle, match=BROKEN[kind].reason):
        check_bundle(folder)
    assert time.monotonic() - started < 5
