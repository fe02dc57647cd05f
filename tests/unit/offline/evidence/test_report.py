"""The report: one file that loads nothing, says nulls in words, and claims nothing when quick."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from offline.evidence.findings import Findings, find
from offline.evidence.layout import LAYOUT
from offline.evidence.markdown import MissingMarkers, QuickFindings, evidence, short, update
from offline.evidence.report import render, write_report
from offline.evidence.words import QUICK
from tests.fixtures.evidence_results import GAINS, Made, results

HOSTILE = '<img src="x" onerror="alert(1)">|'
VOID = {"meta"}
NOTHING = dict.fromkeys(GAINS, 0.0)


class Elements(HTMLParser):
    """Collects elements and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element without content."""
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Check that it ends what was opened last."""
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def findings() -> Findings:
    """Findings with a real gain in one study and none in another; some cells are missing."""
    made = results(
        Made("sim_101", world=101, users=100),
        Made("panel", world=None, methods=NOTHING, noise=0.05, users=100),
        Made("sim_1", role="design", users=30, seeds=(0,)),
    )
    return find(
        made,
        planned=[("sim_101", "choirrec_aligned", "paper", 0), ("sim_102", "melt", "paper", 4)],
        titles={"choirrec_aligned": "ChoirRec", "din": HOSTILE},
        provenance={"panel": f"Where it is from {HOSTILE}", "unused": "not shown"},
        layout=replace(
            LAYOUT, codes_sweep=((16, "choirrec_k16"),), weight_sweep=((0.02, "choirrec_k64"),)
        ),
    )


def test_the_page_nests_and_loads_nothing(findings: Findings) -> None:
    """Titles of methods and texts of data stay texts; no element names another file."""
    page = Elements()
    page.feed(render(findings))
    assert page.open == []
    assert not {"img", "script", "link"} & {tag for tag, _ in page.found}
    assert not any({"src", "srcset", "data", "style"} & set(attrs) for _, attrs in page.found)
    links = {str(attrs["href"]) for _, attrs in page.found if "href" in attrs}
    ids = [attrs["id"] for _, attrs in page.found if "id" in attrs]
    assert {link[1:] for link in links} <= set(ids)
    assert len(ids) == len(set(ids))
    policy = next(a["content"] for tag, a in page.found if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_every_table_and_plot_of_the_paper_is_there(findings: Findings) -> None:
    """Tables 1 and 2, Figures 5 and 6, trust and likeness, each beside the paper's figures."""
    page = render(findings)
    for told in ("Table 1", "Table 2", "Figure 5", "Figure 6, k", "Figure 6, lambda", "alpha_fus"):
        assert told in page
    for figure in ("0.7179", "-1.63 %", "+0.42 %", ">2.1<", "83.00 %", "60.00 %"):
        assert figure in page
    assert page.count("<svg") >= 6
    assert page.count("<caption>Test rows of items") == 2


def test_nulls_are_told_in_words_with_what_could_have_been_seen(findings: Findings) -> None:
    """An interval that contains 0 is no evidence, and says how large an effect would have been."""
    nulls = r"contains 0: no evidence at this size; could have shown \d+\.\d\d %"
    assert re.search(nulls, render(findings))
    assert "above 0" in render(findings)


def test_unfinished_cells_are_named(findings: Findings) -> None:
    """What was planned and has no result stands in the report, whatever its data set."""
    assert findings.unfinished == (("sim_102", "melt", "paper", 4),)
    assert "sim_102, melt, preset paper: seeds 4" in render(findings)
    assert "Unfinished:" in render(findings)


def test_claims_are_made_from_confirmation_alone(findings: Findings) -> None:
    """Data on which choices were made has tables, and no sentence in short."""
    summary = render(findings).split('id="study0"')[0]
    assert "the control for groups" in summary
    assert summary.count("No claim:") == 1


def test_a_quick_run_is_stamped_and_claims_nothing(findings: Findings) -> None:
    """No verdict stands on the page of a quick run, and no document takes its figures."""
    quick = replace(findings, quick=True)
    page = render(quick)
    assert f'<p class="stamp">{QUICK}</p>' in page
    assert "no evidence at this size" not in page
    assert ">above 0<" not in page
    for text in (evidence, short):
        with pytest.raises(QuickFindings, match="full run"):
            text(quick)
    assert QUICK not in render(findings)


def test_provenance_stands_beside_the_figures(findings: Findings) -> None:
    """Where data comes from is quoted, of the data sets that are shown."""
    page = render(findings)
    assert escape(f"Where it is from {HOSTILE}") in page
    assert "not shown" not in page


def test_equal_findings_give_equal_bytes(findings: Findings, tmp_path: Path) -> None:
    """Two reports of the same findings are the same file, and nothing is left beside it."""
    for name in ("a.html", "b.html"):
        write_report(findings, tmp_path / "out" / name)
    one, two = sorted((tmp_path / "out").iterdir())
    assert one.read_bytes() == two.read_bytes()


def test_json_holds_every_interval(findings: Findings) -> None:
    """Per study and method: mean, spread, and the intervals of ChoirRec minus it; NaN is null."""
    told = json.loads(findings.to_json())
    study = next(one for one in told["studies"] if one["family"] == "sim")
    row = next(one for one in study["methods"] if one["method"] == "poso")
    assert {"mean", "spread", "by_dataset"} == set(row["figures"]["primary_low"])
    gain = row["gains"]["primary_low"]
    assert gain["corrected"]["low"] < gain["relative"]["value"] < gain["corrected"]["high"]
    assert {"auc_low", "unweighted_overall", "outcomes_low"} <= set(row["gains"])
    assert "NaN" not in findings.to_json()


def test_an_empty_table_makes_a_report() -> None:
    """Before any cell is finished, the report names what is to come."""
    page = render(find(results(), planned=[("sim_1", "din", "paper", 0)]))
    assert "sim_1, din, preset paper: seeds 0" in page


def test_markdown_tables_have_one_width_each(findings: Findings) -> None:
    """Every row of a Markdown table has as many cells as its head, bars in names included."""
    blocks = [b.splitlines() for b in evidence(findings).split("\n\n") if b.startswith("| ")]
    assert len(blocks) > 8
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1


def test_the_short_form_tells_confirmations_alone(findings: Findings) -> None:
    """The README gets sentences and gains of confirming studies, and what is unfinished."""
    told = short(findings)
    assert "sim, confirmation" in told
    assert "design" not in told
    assert "unfinished" in told


def test_generated_text_goes_between_its_markers(findings: Findings, tmp_path: Path) -> None:
    """What stands around the markers is kept; writing the same again changes nothing."""
    path = tmp_path / "evidence.md"
    path.write_text("before\n<!-- generated: evidence -->\nold\n<!-- end: evidence -->\nafter\n")
    assert update(path, "evidence", evidence(findings))
    text = path.read_text()
    assert text.startswith("before\n<!-- generated: evidence -->\nGains are")
    assert text.endswith("<!-- end: evidence -->\nafter\n")
    assert "\nold\n" not in text
    assert not update(path, "evidence", evidence(findings))


def swapped(text: str) -> str:
    """The end before the beginning."""
    return "<!-- end: evidence -->\n<!-- generated: evidence -->\n" + text


@pytest.mark.parametrize("spoil", [lambda text: text, swapped])
def test_a_document_without_markers_is_left_alone(
    tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    """A document that has no place for figures is refused with the lines it lacks."""
    path = tmp_path / "evidence.md"
    path.write_text(spoil("typed by hand\n"))
    former = path.read_text()
    with pytest.raises(MissingMarkers, match="generated: evidence"):
        update(path, "evidence", "figures")
    assert path.read_text() == former
