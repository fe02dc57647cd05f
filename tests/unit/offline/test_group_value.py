"""Group value: groups that decide purchases gain, groups by chance do not."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from offline.group_value import Bought, group_value
from offline.histories import epoch_s
from tests.unit.offline.planted_shop import CLUBS, CUT, PLANTED, USERS, club, planted_shop

CLUB = np.array([[CLUBS.index(club(user))] for user in range(USERS)], np.int32)
NO_GROUP = len(CLUBS)


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bought, Bought]:
    """Purchases before the cut, and after it."""
    shop = planted_shop(tmp_path_factory.mktemp("shop"))
    cut, end = epoch_s(CUT), epoch_s(PLANTED.split.test_start)
    return Bought.between(shop, 0, cut), Bought.between(shop, cut, end)


def permuted(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same groups with other members."""
    return np.random.default_rng(0).permutation(codes)


def test_deciding_groups_gain_and_permuted_ones_do_not(bought: tuple[Bought, Bought]) -> None:
    """The measure tells groups that carry behaviour from groups of the same sizes by chance."""
    real = group_value(*bought, CLUB, NO_GROUP, n_min=5)
    chance = group_value(*bought, permuted(CLUB), NO_GROUP, n_min=5)
    assert real.alone.value > 10 * real.alone.error
    assert real.beyond_own.value > 5 * real.beyond_own.error
    assert chance.alone.value < 2 * chance.alone.error


def test_own_purchases_are_no_merit_of_the_group(bought: tuple[Bought, Bought]) -> None:
    """Groups of one user know nothing that the user's own history does not tell."""
    alone = np.arange(USERS, dtype=np.int32)[:, None]
    value = group_value(*bought, alone, USERS, n_min=1)
    assert value.alone.value == pytest.approx(0, abs=1e-12)
    assert value.beyond_own.value == pytest.approx(0, abs=1e-3)


def test_small_groups_fall_back_to_the_prior_that_is_read(bought: tuple[Bought, Bought]) -> None:
    """What a grouping is worth depends on the prefixes that users read, not on finer codes."""
    deeper = np.concatenate([CLUB, np.arange(USERS, dtype=np.int32)[:, None]], axis=1)
    flat = group_value(*bought, CLUB, NO_GROUP, n_min=5)
    deep = group_value(*bought, deeper, USERS, n_min=5)
    assert deep.alone.value == pytest.approx(flat.alone.value, abs=1e-3)


def test_users_without_group_gain_nothing(bought: tuple[Bought, Bought]) -> None:
    """Where nobody has a group there is nothing but everybody's shares."""
    none = np.full((USERS, 1), NO_GROUP, np.int32)
    assert group_value(*bought, none, NO_GROUP, n_min=5).alone.value == pytest.approx(0, abs=1e-12)


def test_segments_are_measured_apart(bought: tuple[Bought, Bought]) -> None:
    """Low-activity users can be measured alone; all users' purchases still tell of the groups."""
    past, later = bought
    quiet = np.arange(USERS) % 3 == 0
    value = group_value(past, later.of(quiet), CLUB, NO_GROUP, n_min=5)
    assert value.alone.purchases == later.of(quiet).count.sum() < later.count.sum()
    assert value.alone.value > 5 * value.alone.error


def test_no_later_purchases_are_refused(bought: tuple[Bought, Bought]) -> None:
    """A span without purchases is named, not measured as nought."""
    past, later = bought
    nothing = later.of(np.zeros(USERS, bool))
    with pytest.raises(ValueError, match="of 0 users after the cut"):
        group_value(past, nothing, CLUB, NO_GROUP, n_min=5)
    empty = replace(past, count=past.count * 0)
    with pytest.raises(ValueError, match="expected at least two"):
        group_value(empty, later, CLUB, NO_GROUP, n_min=5)
