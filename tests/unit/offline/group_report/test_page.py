"""The page: one file, every text escaped, written whole or not at all."""

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from offline.group_report.description import Description
from offline.group_report.page import render, write_report
from offline.group_report.plots import Row, bars, columns
from offline.group_report.table import percent, table
from tests.fixtures.group_content import HOSTILE, content

VOID = {"meta", "input", "rect"}


class Elements(HTMLParser):
    """Collects elements and text, and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

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

    def handle_data(self, data: str) -> None:
        """Gather the text."""
        self.text += data


@pytest.fixture(scope="module")
def page() -> Elements:
    """A page full of hostile texts, read."""
    read = Elements()
    read.feed(render(content()))
    return read


def test_elements_nest_and_hostile_texts_stay_texts(page: Elements) -> None:
    """Nothing that data says becomes an element, and all of it can be read."""
    assert page.open == []
    tags = [tag for tag, _ in page.found]
    assert "img" not in tags
    assert tags.count("script") == 1
    assert page.text.count(HOSTILE) > 10
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)


def test_nothing_is_loaded(page: Elements) -> None:
    """No element names another file, and the policy forbids what might."""
    named = {"src", "srcset", "data", "action", "poster"}
    assert not any(named & set(attributes) for _, attributes in page.found)
    links = [a["href"] for _, a in page.found if a.get("href") is not None]
    assert links
    assert all(link is not None and link.startswith("#") for link in links)
    policy = next(a["content"] for tag, a in page.found if "http-equiv" in a and tag == "meta")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_links_lead_somewhere_and_ids_are_unique(page: Elements) -> None:
    """Every link within the page has its target, and no target stands twice."""
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"] for _, a in page.found if "href" in a}
    assert {str(link)[1:] for link in links} <= {str(name) for name in ids}


def test_the_control_and_the_paper_stand_beside_the_figures() -> None:
    """Attribute consistency and concentration are never shown alone."""
    (summary,) = re.findall(r"<caption>Figures in short.*?</table>", render(content()), re.DOTALL)
    cells = re.findall(r"<th scope=\"row\">(.*?)</th>(.*?)</tr>", summary)
    figures = {name: re.findall(r">([^<]+)<", rest) for name, rest in cells}
    assert figures["Attribute consistency"] == ["80.0 %", "60.0 %", "83.0 %"]
    assert "50.0 %" in figures["Purchases in the group&#x27;s top 50 categories"]


def test_advice_to_fit_again_is_told_first() -> None:
    """Drift beyond the limit is a warning at the top, not a line at the bottom."""
    text = render(content())
    assert text.index("Fit again:") < text.index('id="levels"')


def test_summaries_may_come_from_a_writer() -> None:
    """Whoever describes the groups, the text is escaped, and the card says who wrote it."""
    whole = content()
    others = whole.descriptions[1:]
    written = Description("<b>named</b>", "<b>described</b>", "openai")
    told = render(replace(whole, descriptions=(written, *others), describer="openai, <m>"))
    assert "&lt;b&gt;named&lt;/b&gt;" in told
    assert "&lt;b&gt;described&lt;/b&gt;" in told
    assert "<b>" not in told
    assert "<m>" not in told
    assert told.count("a language model, by the writer openai.") == 1
    assert told.count("a template, no language model.") == len(others)
    assert f"of {len(others)} groups the template wrote them" in told
    assert "a template's, not a language model's" in render(whole)


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """Two reports of one content are the same file, and nothing is left beside it."""
    for name in ("a.html", "b.html"):
        write_report(content(), tmp_path / "out" / name)
    one, two = sorted((tmp_path / "out").iterdir())
    assert one.read_bytes() == two.read_bytes()


def test_a_failed_report_leaves_the_earlier_one(tmp_path: Path) -> None:
    """A report that fails half-way neither replaces nor spoils the file."""
    path = tmp_path / "groups.html"
    path.write_text("earlier")
    with pytest.raises(ValueError, match="shorter"):
        write_report(replace(content(), descriptions=()), path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_plots_draw_what_they_are_given() -> None:
    """A bar's length is its share of the full length; what is not defined draws none."""
    drawn = bars(
        "shares", ("real", "control"), [Row("a", (1.0, 0.5)), Row("b", (None, 0.0))], 1, "%"
    )
    lengths = [float(w) for w in re.findall(r'width="([\d.]+)" height="13"', drawn)]
    assert lengths == [296.0, 148.0, 0.0]
    assert "not defined" in drawn
    assert "50.0%" in drawn
    heights = re.findall(r'height="([\d.]+)"/>', columns("sizes", ("1", "2"), (5, 10), "groups"))
    assert float(heights[1]) == 2 * float(heights[0]) > 0


def test_tables_align_figures_and_escape_texts() -> None:
    """Columns of figures are marked as such; texts are not, and cannot break out."""
    drawn = table("all", ("name", "users", "kind"), [("<a>", "1,000", "x"), ("b", "2.5 %", "3")])
    assert drawn.count('class="n"') == 3
    assert "<a>" not in drawn
    assert unescape("&lt;a&gt;") in unescape(drawn)
    assert percent(None) == "not defined"
