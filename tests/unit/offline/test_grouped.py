"""Grouped users: a folder of the groups stage is read whole or refused by name."""

from pathlib import Path

import numpy as np
import pytest

from model.residuals import ResidualReference
from offline.assignment import assign_all
from offline.grouped import USERS, GroupedUsers, NotGroups
from offline.groups import fit_groups


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the groups stage leaves."""
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    vectors[:3] = 0
    codebooks = fit_groups(vectors, 2, 4, 0, tmp_path / "checkpoints")
    codebooks.save(tmp_path)
    assign_all(vectors, codebooks, tmp_path)
    ResidualReference.of(np.load(tmp_path / "residual_norms.npy")).save(tmp_path)
    np.save(tmp_path / USERS, np.arange(300, dtype=np.uint64))
    return tmp_path


def test_a_folder_is_read_back(folder: Path) -> None:
    """Codes, norms and keys belong to the same users; those without a group are known."""
    read = GroupedUsers.load(folder)
    assert read.codes.shape == read.norms.shape == (300, 2)
    assert np.flatnonzero(~read.grouped).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(np.isnan(read.norms[:, 0]), ~read.grouped)


@pytest.mark.parametrize("name", ["codes.npy", "codebooks.npy", USERS, "residual_norms.npy"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """An older or a half-copied folder is refused with the file's name and what would do."""
    (folder / name).unlink()
    with pytest.raises(NotGroups, match=f"{name}.*name a folder of the groups stage"):
        GroupedUsers.load(folder)


def test_files_of_different_runs_are_refused(folder: Path) -> None:
    """Codes of other users than the keys are no grouping."""
    np.save(folder / USERS, np.arange(299, dtype=np.uint64))
    with pytest.raises(NotGroups, match="come from different runs"):
        GroupedUsers.load(folder)


@pytest.mark.parametrize("code", [-1, 5, 99])
def test_codes_that_no_codebook_has_are_refused(folder: Path, code: int) -> None:
    """A damaged file of codes does not become a group of its own in a comparison."""
    codes = np.load(folder / "codes.npy")
    codes[7, 1] = code
    np.save(folder / "codes.npy", codes)
    with pytest.raises(NotGroups, match=r"codes from .* expected 0 to 4 \(4 = no group\)"):
        GroupedUsers.load(folder)
