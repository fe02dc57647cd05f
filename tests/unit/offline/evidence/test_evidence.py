"""The evidence: tables reach the documents of a checkout, and a quick run never does."""

import shutil
from pathlib import Path

import pytest

from offline.evidence.evidence import Documents, tell
from offline.evidence.findings import find
from offline.evidence.markdown import QuickFindings, evidence
from tests.fixtures.evidence_results import Made, results

ROOT = Path(__file__).parents[4]


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    """Copies of the documents that hold generated tables."""
    for name in ("README.md", "docs/evidence.md"):
        shutil.copy(ROOT / name, tmp_path / Path(name).name)
    return Documents(tmp_path / "evidence.md", tmp_path / "README.md")


def test_the_documents_have_a_place_for_the_tables(documents: Documents) -> None:
    """What was found stands in both documents afterwards; a second time changes nothing."""
    findings = find(results(Made(users=30)))
    tell(findings, documents)
    first = documents.evidence.read_text(), documents.readme.read_text()
    assert "choirrec_aligned over each method" in first[0]
    assert "Nothing is claimed yet" not in first[1]
    tell(findings, documents)
    assert (documents.evidence.read_text(), documents.readme.read_text()) == first


@pytest.mark.parametrize(("seeds", "warned"), [((0,), True), ((0, 1, 2), False)])
def test_one_seed_is_told_as_such(seeds: tuple[int, ...], warned: bool) -> None:
    """Whoever reads intervals of a single seed is told that they know of users alone."""
    text = evidence(find(results(Made(users=30, seeds=seeds))))
    assert ("One seed: the intervals know of users alone" in text) is warned


def test_a_quick_run_is_told_in_no_document(documents: Documents) -> None:
    """Figures of a look alone are refused, and the documents stay as they were."""
    before = documents.evidence.read_bytes(), documents.readme.read_bytes()
    with pytest.raises(QuickFindings):
        tell(find(results(Made(users=30)), quick=True), documents)
    assert (documents.evidence.read_bytes(), documents.readme.read_bytes()) == before


def test_away_from_a_checkout_there_is_nothing_to_tell(tmp_path: Path) -> None:
    """A comparison run from an installed package ends without an error."""
    tell(find(results(Made(users=30))), Documents(tmp_path / "a.md", tmp_path / "b.md"))
    assert not list(tmp_path.iterdir())
