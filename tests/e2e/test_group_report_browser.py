"""The group report in a real browser: it loads nothing, fits every screen, and finds groups."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from offline.group_report.page import write_report
from tests.fixtures.browser import Browser, Page, chromium
from tests.fixtures.group_content import HOSTILE, content

pytestmark = pytest.mark.needs("chromium")

CONTRASTS = """
(() => {
  const channels = (css) => css.match(/[\\d.]+/g).slice(0, 3).map((part) => {
    const share = Number(part) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const light = (css) => {
    const [red, green, blue] = channels(css);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const css = getComputedStyle(node).backgroundColor;
      if (!css.startsWith("rgba(0, 0, 0, 0")) return light(css);
    }
    return 1;
  };
  const texts = [...document.querySelectorAll("p, a, h1, h2, th, td, caption, summary span, dt")];
  return Math.min(...texts.filter((node) => node.textContent.trim()).map(
    (node) => ratio(light(getComputedStyle(node).color), behind(node))));
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A running Chromium."""
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report full of texts that try to become markup."""
    path = tmp_path_factory.mktemp("report") / "groups.html"
    write_report(content(), path)
    return path


@pytest.fixture
def page(browser: Browser, report: Path) -> Page:
    """The report, open."""
    opened = browser.page()
    opened.show(report)
    return opened


def test_it_needs_nothing_but_itself(page: Page, report: Path) -> None:
    """The file asks for nothing else, and the browser has nothing to complain about."""
    assert page.requests == [report.as_uri()]
    assert page.complaints == []


def test_texts_of_users_and_items_stay_texts(page: Page) -> None:
    """Markup hidden in item texts, attributes and profiles is shown, never run."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("window.taken === undefined")
    assert page.evaluate("document.querySelectorAll('img, main script').length") == 0
    assert HOSTILE in page.evaluate("document.body.textContent")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen_and_can_be_read(
    page: Page, report: Path, width: int, dark: bool
) -> None:
    """On a phone and a desk, light and dark: nothing sticks out, and every text has contrast."""
    page.show(report, width, dark)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRASTS) >= 4.5


def test_headings_and_tables_speak_to_those_who_do_not_see(page: Page) -> None:
    """Headings descend in order, every plot has a name, every table a caption and heads."""
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    plots = "[...document.querySelectorAll('svg')]"
    assert page.evaluate(f"{plots}.length") >= 6
    assert page.evaluate(f"{plots}.every((one) => one.getAttribute('aria-label'))")
    tables = "[...document.querySelectorAll('table')]"
    assert page.evaluate(f"{tables}.every((one) => one.caption && one.querySelector('thead th'))")


def test_search_narrows_the_groups(page: Page) -> None:
    """Typing a category leaves the groups that buy it; a code leaves the group of that code."""

    def shown(text: str) -> list[str]:
        page.evaluate(
            f"search.value = {text!r}; search.dispatchEvent(new Event('input', {{bubbles: true}}))"
        )
        found: list[str] = page.evaluate(
            "cards.filter((card) => !card.hidden).map((card) => card.id)"
        )
        return found

    everything = shown("")
    assert len(everything) == len(content().cards)
    assert shown("no such thing") == []
    assert page.evaluate("found.textContent").strip() == f"0 of {len(everything)} groups"
    assert 0 < len(shown("60+")) < len(everything)
    assert "g-1.0" in shown("1.0")


def test_a_link_opens_its_group(page: Page, report: Path) -> None:
    """An address that ends in a group's code opens that card."""
    page.show(report, fragment="#g-0.1")
    assert page.evaluate("document.getElementById('g-0.1').open")
    assert page.evaluate("document.querySelectorAll('.card[open]').length") == 1
