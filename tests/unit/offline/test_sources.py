"""Sources: what a data set's rows depend on, so that nothing stale is taken for new."""

from pathlib import Path

import pytest

from offline.datasets.simulated.constants import CONSTANTS
from offline.rules import ConfigError
from offline.sources import complete_journey, own_files, simulated, tmall
from tests.fixtures.tiny_log import write_log


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """The mapping of a tiny log."""
    return write_log(tmp_path)


def test_equal_files_are_one_source_wherever_they_lie(mapping: Path, tmp_path: Path) -> None:
    """A log is known by what its files hold: a copy elsewhere builds nothing anew."""
    copy = write_log(tmp_path / "elsewhere")
    first, second = own_files(mapping), own_files(copy)
    assert (first.name, first.settings) == (second.name, second.settings)
    assert first.name == "tiny-shop"
    assert first.module == "offline.datasets.files"


@pytest.mark.parametrize(
    "file",
    ["users.csv", "items.csv", "clicks.csv", "purchases.csv", "searches.csv", "mapping.toml"],
)
def test_a_change_in_any_file_is_another_source(file: str, mapping: Path) -> None:
    """One more line in the mapping or in any file that it names is noticed."""
    before = own_files(mapping).settings
    with (mapping.parent / file).open("a") as lines:
        lines.write("\n")
    assert own_files(mapping).settings != before


def test_a_file_that_is_not_there_is_named(mapping: Path) -> None:
    """A missing file is an error of the description, with its path."""
    (mapping.parent / "clicks.csv").unlink()
    with pytest.raises(ConfigError, match=r"clicks\.csv: No such file"):
        own_files(mapping)


def test_a_log_without_searches_is_a_source(mapping: Path) -> None:
    """Searches are optional."""
    head, _, tail = mapping.read_text().partition("[searches]")
    mapping.write_text(head + tail[tail.index("[split]") :])
    (mapping.parent / "searches.csv").unlink()
    assert own_files(mapping).settings


def test_the_panel_is_known_by_window_households_and_package() -> None:
    """Another window, fewer households or another package version are other rows."""
    sources = [complete_journey(), complete_journey("replication"), complete_journey("design", 600)]
    assert [source.name for source in sources] == [
        "complete_journey_design",
        "complete_journey_replication",
        "complete_journey_design",
    ]
    assert len({tuple(source.settings.items()) for source in sources}) == 3
    assert sources[0].settings["package"] == "0.1.0"


def test_a_simulated_shop_is_known_by_world_users_and_constants() -> None:
    """Another world, more users or archetypes without effect are other rows."""
    sources = [simulated(1, 1000), simulated(2, 1000), simulated(1, 2000), simulated(1, 1000, True)]
    assert sources[0].name == "simulated_1"
    assert sources[3].name == "simulated_null_1"
    assert len({tuple(source.settings.items()) for source in sources}) == 4
    assert sources[0].settings["constants"] == CONSTANTS.digest()


def test_brands_are_known_by_the_bytes_of_their_events(tmp_path: Path) -> None:
    """A folder is known by its log, not by its name; one without a log is refused."""
    with pytest.raises(ConfigError, match=r"events\.parquet: No such file"):
        tmall(tmp_path)
    (tmp_path / "events.parquet").write_bytes(b"one")
    before = tmall(tmp_path).settings
    (tmp_path / "events.parquet").write_bytes(b"two")
    assert tmall(tmp_path).settings != before
