"""The codebooks: greedy codes that depend on nothing but vector and centroids."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.codebooks import Codebooks, nearest


def codebooks(levels: int = 3, codes: int = 5, width: int = 16, seed: int = 3) -> Codebooks:
    """Random codebooks whose levels shrink, as residual levels do."""
    random = np.random.default_rng(seed)
    scale = 0.5 ** np.arange(levels)[:, None, None]
    return Codebooks((random.normal(size=(levels, codes, width)) * scale).astype(np.float32))


def vectors(rows: int, width: int = 16, seed: int = 8) -> NDArray[np.float32]:
    """Random vectors."""
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


@given(rows=st.integers(1, 70), chunk=st.integers(1, 80), codes=st.integers(1, 40))
def test_codes_do_not_depend_on_chunks(rows: int, chunk: int, codes: int) -> None:
    """A user gets the same group alone, in a chunk, and among everybody."""
    made, users = codebooks(codes=codes, width=64), vectors(rows, width=64)
    whole = made.encode(users)
    alone = np.concatenate([made.encode(users[[row]]) for row in range(rows)])
    assert made.encode(users, chunk_rows=chunk).tobytes() == whole.tobytes() == alone.tobytes()


@given(st.data())
def test_nearest_is_exact(data: st.DataObject) -> None:
    """However close the race, the winner is that of exact arithmetic, ties to the lowest index."""
    small = st.integers(-2, 2).map(lambda value: value / 4)
    row = st.lists(small, min_size=3, max_size=3)
    points = np.array(data.draw(st.lists(row, min_size=1, max_size=9)), dtype=np.float32)
    centroids = np.array(data.draw(st.lists(row, min_size=1, max_size=9)), dtype=np.float32)
    gaps = points[:, None].astype(np.float64) - centroids[None]
    expected = np.argmin(np.sum(gaps * gaps, axis=2), axis=1)
    np.testing.assert_array_equal(nearest(points, centroids), expected)


def test_near_ties_are_decided_exactly() -> None:
    """Centroids closer than float32 products can tell apart are still told apart."""
    point = np.full((1, 256), 1.0, dtype=np.float32)
    centroids = np.full((40, 256), 1.0, dtype=np.float32)
    centroids[:, 0] += 1e-3
    centroids[17, 0] = np.float32(1.0 + 0.9e-3)
    assert nearest(point, centroids)[0] == 17


@pytest.mark.parametrize("codes", [2, 5, 33, 256])
def test_equal_centroids_tie_to_the_lowest_index(codes: int) -> None:
    """Of several equal centroids the first is chosen, whatever the matrix product's last bits."""
    one = vectors(1, width=100)
    made = Codebooks(np.repeat(one, codes, axis=0)[None])
    assert not made.encode(vectors(50, width=100)).any()


@given(seed=st.integers(0, 1000))
def test_saved_codebooks_assign_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Save, load, encode: equal codes and an equal digest."""
    folder = tmp_path_factory.mktemp("codebooks")
    made, users = codebooks(seed=seed), vectors(40, seed=seed)
    made.save(folder)
    read = Codebooks.load(folder)
    assert read.digest == made.digest
    assert read.assign(users).tobytes() == made.assign(users).tobytes()


def test_equal_codebooks_make_equal_files(tmp_path: Path) -> None:
    """Saving twice gives equal bytes and leaves nothing else behind."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        codebooks().save(tmp_path / name)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["codebooks.npy"]
    left, right = (tmp_path / name / "codebooks.npy" for name in ("a", "b"))
    assert left.read_bytes() == right.read_bytes()


def test_digest_tells_any_change() -> None:
    """One centroid moved by one bit is another feature contract."""
    moved = codebooks().centroids.copy()
    moved[1, 2, 3] = np.nextafter(moved[1, 2, 3], np.float32(9))
    assert Codebooks(moved).digest != codebooks().digest
    assert Codebooks(codebooks().centroids.reshape(3, 1, 80)).digest != codebooks().digest


def test_unknown_user_has_no_group() -> None:
    """A zero vector gets the code k at every level; others keep their greedy codes."""
    made, users = codebooks(), vectors(4)
    users[2] = 0.0
    codes = made.assign(users)
    assert codes[2].tolist() == [5, 5, 5]
    np.testing.assert_array_equal(np.delete(codes, 2, 0), made.encode(np.delete(users, 2, 0)))


def test_no_users_give_no_codes() -> None:
    """Nobody to assign is no error."""
    assert codebooks().assign(vectors(0)).shape == (0, 3)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 15), dtype=np.float32), r"expected float32 \[N, 16\]"),
        (np.zeros((2, 16)), "float64"),
        (np.zeros(16, dtype=np.float32), r"\(16,\)"),
        (np.full((1, 16), np.inf, dtype=np.float32), "user vector 0"),
    ],
)
def test_wrong_vectors_are_refused(bad: NDArray[np.float32], message: str) -> None:
    """Vectors of another encoder, or broken ones, never get a group silently."""
    with pytest.raises(ValueError, match=message):
        codebooks().encode(bad)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((3, 4), dtype=np.float32),
        np.zeros((3, 0, 4), dtype=np.float32),
        np.zeros((3, 2, 4)),
        np.full((1, 2, 3), np.nan, dtype=np.float32),
    ],
)
def test_wrong_centroids_are_refused(tmp_path: Path, bad: NDArray[np.float32]) -> None:
    """A file that holds no stack of finite codebooks is not loaded."""
    np.save(tmp_path / "codebooks.npy", bad)
    with pytest.raises(ValueError, match="codebooks"):
        Codebooks.load(tmp_path)


def test_truncated_and_pickled_files_are_refused(tmp_path: Path) -> None:
    """Nothing half-written and nothing that could execute is loaded."""
    codebooks().save(tmp_path)
    path = tmp_path / "codebooks.npy"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError):  # noqa: PT011
        Codebooks.load(tmp_path)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"codebooks.npy: no array can be read"):
        Codebooks.load(tmp_path)
