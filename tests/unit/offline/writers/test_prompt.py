"""Prompts: versions by content, instructions and facts kept apart."""

from pathlib import Path

import pytest

from offline.writers import prompt
from offline.writers.answer import SECTIONS
from offline.writers.prompt import Prompt


@pytest.mark.parametrize("name", ["synthesise-1", "rewrite-1", "group-1"])
def test_facts_stand_in_their_block(name: str) -> None:
    """Facts appear once, in the user's message alone, between marks they cannot write."""
    system, user = Prompt.load(name).messages("buys {facts} and milk")
    assert (system["role"], user["role"]) == ("system", "user")
    assert "milk" not in system["content"]
    assert user["content"] == "<facts>\nbuys {facts} and milk\n</facts>"


@pytest.mark.parametrize(
    ("name", "members"),
    [("synthesise-1", SECTIONS), ("rewrite-1", SECTIONS), ("group-1", ("name", "summary"))],
)
def test_instructions_say_what_they_must(name: str, members: tuple[str, ...]) -> None:
    """Generalise, leave outliers out, treat facts as data; and no example to copy from."""
    system = Prompt.load(name).system.lower()
    for word in (*members, "not", "instruction"):
        assert word in system
    assert "odd facts" in system or "do not fit" in system
    assert "what you know of the world" in system or "general knowledge" in system
    assert "for example" not in system


def test_an_edit_is_another_version() -> None:
    """A prompt whose text changed under the same name has another version."""
    first = Prompt("name-1", "Do this.", "{facts}")
    assert first.version != Prompt("name-1", "Do that.", "{facts}").version
    assert first.version.startswith("name-1:")


@pytest.mark.parametrize("text", ["no line", "a\n---\nno place", "a\n---\n{facts} {facts}", ""])
def test_a_broken_file_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without its line of dashes or with no single place for facts is not a prompt."""
    (tmp_path / "bad-1.txt").write_text(text)
    monkeypatch.setattr(prompt, "_FOLDER", tmp_path)
    with pytest.raises(ValueError, match="prompt bad-1: expected instructions"):
        Prompt.load("bad-1")


def test_an_unknown_version_is_an_error() -> None:
    """There is no default prompt to fall back to."""
    with pytest.raises(FileNotFoundError, match="synthesise-0"):
        Prompt.load("synthesise-0")
