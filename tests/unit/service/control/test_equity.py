"""The equity guard: losses on low-activity users are refused, whatever is won elsewhere."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from model.desired import Target
from model.evaluation import EVALUATION_FILE, Evaluation
from model.manifest import MANIFEST
from model.reference import REFERENCE_FILE
from model.repository import Repository
from service.control.bundle_parts import BundleParts, Unreadable
from service.control.equity import EquityGuard
from service.control.finding import Finding
from service.lifecycle.private_store import PrivateStore
from tests.control import desired_state
from tests.evaluations import EVALUATION
from tests.fixtures.bundles import make_world, reseal, write_bundle

PRESENT, CANDIDATE = desired_state(generation="g"), Target(2, "g")


class PlannedParts(BundleParts):
    """Evaluations by version; another version cannot be read."""

    def __init__(self, evaluations: Mapping[int, Evaluation]) -> None:
        """Hold them."""
        self._evaluations = evaluations

    async def evaluation(self, version: int, digest: str | None) -> Evaluation:
        """As ``BundleParts.evaluation``."""
        if version not in self._evaluations:
            raise Unreadable(f"model version {version} is not in the repository")
        return self._evaluations[version]


def _evaluation(
    low: float | None = 0.6, overall: float = 0.6, pcoc: float = 1.0, dataset: str = "shop"
) -> Evaluation:
    segments = dict(EVALUATION.segments)
    for name, gauc in (("low", low), ("overall", overall)):
        segments[name] = replace(segments[name], gauc=gauc, gauc_error=0.003, pcoc=pcoc)
    return replace(EVALUATION, segments=segments, dataset=dataset)


def _judged(
    candidate: Evaluation | None, champion: Evaluation | None = None, *, versions: int = 2
) -> Finding:
    known = {1: champion or _evaluation(), 2: candidate}
    told = {n: one for n, one in known.items() if one is not None and n > 2 - versions}
    return asyncio.run(EquityGuard(PlannedParts(told), 0.25).judge_promotion(PRESENT, CANDIDATE))


def test_equal_version_passes_without_a_word() -> None:
    """A good build needs no explanation."""
    finding = _judged(_evaluation())
    assert (finding.refused, finding.reasons) == (False, ())
    assert finding.evidence["candidate"]["low"]["gauc"] == 0.6


def test_figure_that_is_missing_is_told() -> None:
    """Nobody takes silence for a good word where nothing could be judged."""
    finding = _judged(_evaluation(low=None))
    assert not finding.refused
    (said,) = finding.reasons
    assert "GAUC of low-activity users could not be measured of the candidate" in said


def test_gain_overall_does_not_pay_for_a_loss_on_low_activity_users() -> None:
    """Those whom the method is for must not lose by a release; the figures are told."""
    finding = _judged(_evaluation(low=0.58, overall=0.65))
    assert finding.refused
    (reason,) = finding.reasons
    assert "low-activity users: 0.5800, the champion's 0.6000" in reason
    assert "noise of 0.0042" in reason
    json.dumps(finding.evidence)


def test_loss_within_the_noise_passes() -> None:
    """What two measurements of one model may differ by is no loss."""
    assert not _judged(_evaluation(low=0.597)).refused


def test_loss_overall_is_refused() -> None:
    """A version that is worse for everybody is not promoted unawares either."""
    assert "GAUC of all users" in _judged(_evaluation(overall=0.58)).reasons[0]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (_evaluation(pcoc=1.4), "PCOC of low-activity users"),
        (_evaluation(pcoc=0.5), "expected 0.75 to 1.25"),
        (_evaluation(low=0.49), "expected above 0.5"),
    ],
)
def test_thresholds_hold_without_a_champion_to_compare_with(
    candidate: Evaluation, reason: str
) -> None:
    """A model that is badly calibrated or knows nothing is refused on its own."""
    finding = _judged(candidate, versions=1)
    assert finding.refused
    assert any(reason in said for said in finding.reasons)
    assert "cannot be compared with the champion" in finding.reasons[-1]


@pytest.mark.parametrize(
    "champion",
    [
        _evaluation(low=0.9, dataset="another shop"),
        replace(_evaluation(low=0.9), test_end="2024-02-01T00:00:00"),
    ],
)
def test_other_test_rows_are_told_and_not_judged(champion: Evaluation) -> None:
    """Figures of different data are never compared, and nobody is told that they were."""
    finding = _judged(_evaluation(), champion)
    assert not finding.refused
    assert "cannot be compared with the champion" in finding.reasons[0]


def test_candidate_that_cannot_be_read_is_told() -> None:
    """Nothing is refused by a guard that saw nothing; loading the bundle will say more."""
    finding = _judged(None)
    assert not finding.refused
    assert "cannot be judged" in finding.reasons[0]


def test_generation_alone_is_not_judged() -> None:
    """This morning's records need no evaluation of a model that has not changed."""
    guard = EquityGuard(PlannedParts({}), 0.25)
    assert asyncio.run(guard.judge_promotion(PRESENT, Target(1, "h"))) == Finding()


def test_parts_are_read_from_a_repository_as_sealed(tmp_path: Path) -> None:
    """The guard trusts no figure that the manifest does not vouch for."""
    world = make_world(1)
    write_bundle(world, tmp_path / "1")
    parts = BundleParts(Repository(str(tmp_path)), tmp_path / "store")
    assert asyncio.run(parts.evaluation(1, None)) == EVALUATION
    assert asyncio.run(parts.reference(1, None)).score[1].total > 0
    (tmp_path / "1" / EVALUATION_FILE).write_text(_evaluation(low=0.9).to_json())
    with pytest.raises(Unreadable, match="its hash differs from the manifest"):
        asyncio.run(parts.evaluation(1, None))
    (tmp_path / "1" / EVALUATION_FILE).write_text("{}")
    reseal(tmp_path / "1", world)
    with pytest.raises(Unreadable, match="no evaluation of this format"):
        asyncio.run(parts.evaluation(1, None))
    with pytest.raises(Unreadable, match="model version 7 is not in"):
        asyncio.run(parts.evaluation(7, None))


def test_parts_of_a_lost_version_are_read_from_the_private_copy(tmp_path: Path) -> None:
    """A guard that has judged a version goes on when the repository is gone."""
    repository = Repository(str(tmp_path / "repository"))
    write_bundle(make_world(1), tmp_path / "repository" / "1")
    PrivateStore(tmp_path / "store", repository).take(1)
    shutil.rmtree(tmp_path / "repository")
    parts = BundleParts(repository, tmp_path / "store")
    assert asyncio.run(parts.evaluation(1, None)) == EVALUATION
    assert asyncio.run(parts.reference(1, None)).score[1].total > 0


@pytest.fixture
def exchanged(tmp_path: Path) -> tuple[BundleParts, str, str]:
    """Parts of a version that a private copy holds, and that the repository has exchanged since.

    Returns:
        The parts, the digest of the copy and that of the repository's.
    """
    place = tmp_path / "repository"
    write_bundle(make_world(1), place / "1")
    write_bundle(make_world(2), place / "2")
    pinned = PrivateStore(tmp_path / "store", Repository(str(place))).take(2).folder
    _exchange(place / "2", _evaluation(low=0.9))
    PrivateStore(tmp_path / "store", Repository(str(place))).take(2, fresh=True)
    return (
        BundleParts(Repository(str(place)), tmp_path / "store"),
        _digest(pinned),
        _digest(place / "2"),
    )


def _exchange(folder: Path, evaluation: Evaluation) -> None:
    shutil.rmtree(folder)
    world = make_world(2, "another encoder")
    write_bundle(world, folder)
    (folder / EVALUATION_FILE).write_text(evaluation.to_json())
    reseal(folder, world)


def _digest(folder: Path) -> str:
    return sha256((folder / MANIFEST).read_bytes()).hexdigest()


def test_parts_are_of_the_bundle_that_serves(exchanged: tuple[BundleParts, str, str]) -> None:
    """A bundle that took over the number in the repository, and a newer copy, speak for nobody."""
    parts, pinned, newer = exchanged
    assert asyncio.run(parts.evaluation(2, pinned)) == EVALUATION
    for digest in (newer, None):
        assert asyncio.run(parts.evaluation(2, digest)).segments["low"].gauc == 0.9


def test_sketches_are_remembered_by_bundle(tmp_path: Path) -> None:
    """A number that is given to another bundle brings its own sketch."""
    place = tmp_path / "repository"
    parts = BundleParts(Repository(str(place)), tmp_path / "store")
    found: list[tuple[float, ...]] = []
    for edge in (0.25, 0.75):
        world = make_world(1)
        write_bundle(world, place / "1")
        sketch = json.loads((place / "1" / REFERENCE_FILE).read_text())
        sketch["score"]["1"]["edges"] = [edge]
        sketch["score"]["1"]["counts"] = [5, 5]
        (place / "1" / REFERENCE_FILE).write_text(json.dumps(sketch))
        reseal(place / "1", world)
        digests = (_digest(place / "1"), None)
        found += [asyncio.run(parts.reference(1, digest)).score[1].edges for digest in digests]
        shutil.rmtree(place / "1")
    assert found == [(0.25,), (0.25,), (0.75,), (0.75,)]


def test_promotion_is_judged_by_the_bundle_that_will_serve(
    exchanged: tuple[BundleParts, str, str],
) -> None:
    """What is pinned is judged, not what stands in the repository under its number by now."""
    parts, pinned, newer = exchanged
    for digest, gauc in ((pinned, EVALUATION.segments["low"].gauc), (newer, 0.9)):
        present = replace(PRESENT, bundles={2: digest})
        finding = asyncio.run(EquityGuard(parts, 10.0).judge_promotion(present, CANDIDATE))
        assert finding.evidence["candidate"]["low"]["gauc"] == gauc


def test_pinned_bundle_that_is_nowhere_is_told(exchanged: tuple[BundleParts, str, str]) -> None:
    """The guard says what it cannot judge, and judges nothing else in its place."""
    parts, _, newer = exchanged
    present = replace(PRESENT, bundles={2: "gone"})
    finding = asyncio.run(EquityGuard(parts, 10.0).judge_promotion(present, CANDIDATE))
    (said,) = finding.reasons
    assert not finding.refused
    assert "the candidate cannot be judged" in said
    assert f"another bundle under this number (digest {newer})" in said


def test_damaged_copy_is_no_evidence(tmp_path: Path) -> None:
    """A copy whose bytes have changed on the disk is not read in the repository's place."""
    repository = Repository(str(tmp_path / "repository"))
    write_bundle(make_world(1), tmp_path / "repository" / "1")
    folder = PrivateStore(tmp_path / "store", repository).take(1).folder
    shutil.rmtree(tmp_path / "repository")
    (folder / EVALUATION_FILE).write_text(_evaluation(low=0.9).to_json())
    parts = BundleParts(repository, tmp_path / "store")
    for digest in (_digest(folder), None):
        with pytest.raises(Unreadable, match="model version 1"):
            asyncio.run(parts.evaluation(1, digest))
