"""Settings of a writer: from a file and the environment, wrong ones named."""

from pathlib import Path

import pytest

from offline.rules import ConfigError
from offline.writers.selection import chat_plan, open_writer, provenance
from offline.writers.settings import WriterSettings, load_settings

GOOD = {
    "CHOIRREC_LLM_BASE_URL": "https://llm.example/v1",
    "CHOIRREC_LLM_MODEL": "qwen",
    "CHOIRREC_LLM_REVISION": "2507",
}


def test_file_and_environment_meet(tmp_path: Path) -> None:
    """The environment overrides the file; numbers and lists are read from text."""
    file = tmp_path / "llm.toml"
    file.write_text('model = "small"\nconcurrency = 8\n[extra]\ntop_p = 0.5\n')
    more = {"CHOIRREC_LLM_BUDGET_TOKENS": "5000", "CHOIRREC_LLM_ATTRIBUTES": "age, city"}
    settings = load_settings("openai", file, GOOD | more | {"PATH": "/bin"})
    assert settings == WriterSettings(
        writer="openai",
        base_url="https://llm.example/v1",
        model="qwen",
        revision="2507",
        attributes=("age", "city"),
        extra={"top_p": 0.5},
        concurrency=8,
        budget_tokens=5000,
    )
    assert chat_plan(settings).sampling["top_p"] == 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CHOIRREC_LLM_MODEL": ""}, "needs model: .* CHOIRREC_LLM_MODEL"),
        ({"CHOIRREC_LLM_REVISION": ""}, "needs revision"),
        ({"CHOIRREC_LLM_BASE_URL": "llm.example"}, "'llm.example', expected http"),
        ({"CHOIRREC_LLM_BASE_URL": "http://127.0.0.1:99999/v1"}, "99999/v1', expected .* port"),
        ({"CHOIRREC_LLM_BASE_URL": "http://llm:0/v1"}, "expected .* port"),
        ({"CHOIRREC_LLM_BASE_URL": "http://[::1/v1"}, "expected http"),
        ({"CHOIRREC_LLM_BASE_URL": "http:///v1"}, "with a host"),
        (
            {"CHOIRREC_LLM_CONCURRENCY": "0"},
            r"Expected `int` >= 1 - at `\$\.concurrency`, given .*'0'",
        ),
        ({"CHOIRREC_LLM_BUDGET_TOKENS": "many"}, "budget_tokens"),
        ({"CHOIRREC_LLM_DEADLINE_S": "-1"}, "deadline_s"),
        ({"CHOIRREC_LLM_MODLE": "x"}, "modle"),
        ({"CHOIRREC_LLM_EXTRA": "{not json"}, "CHOIRREC_LLM_EXTRA='{not json'"),
        ({"CHOIRREC_LLM_EXTRA": '{"messages": []}'}, r"may not hold \['messages'\]"),
        ({"CHOIRREC_LLM_EXTRA": '{"max_tokens": "x"}'}, r"may not hold \['max_tokens'\]"),
        (
            {"CHOIRREC_LLM_EXTRA": '{"temperature": 1, "seed": 2, "n": 3, "stream": true}'},
            r"\['n', 'seed', 'stream', 'temperature'\]",
        ),
        ({"CHOIRREC_LLM_EXTRA": '{"max_completion_tokens": 9}'}, "max_completion_tokens"),
        ({"CHOIRREC_LLM_WRITER": "local"}, "command line"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, str], said: str) -> None:
    """A wrong member is named with what was expected, before anything is read or sent."""
    with pytest.raises(ConfigError, match=said):
        load_settings("openai", None, GOOD | changes)


@pytest.mark.parametrize(
    ("text", "said"),
    [("model = ", "not TOML"), (None, "No such file"), ("moddel = 'x'", "moddel")],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    """A file that is missing, broken or misspelt is named."""
    file = tmp_path / "llm.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_settings("template", file, {})


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two\nkeys", b"\xff\xfe"])
def test_a_key_file_holds_one_key(tmp_path: Path, content: bytes | None) -> None:
    """A key that is missing, empty or no text is an error when the writer opens."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    settings = load_settings("openai", None, GOOD | {"CHOIRREC_LLM_KEY_FILE": str(file)})
    with pytest.raises(ConfigError, match="key_file"), open_writer(settings, tmp_path):
        pass


def test_the_key_is_read_from_its_file(tmp_path: Path) -> None:
    """The key stands in no setting: only in the file and in the requests."""
    (tmp_path / "key").write_text("sk-secret\n")
    settings = load_settings(
        "openai", None, GOOD | {"CHOIRREC_LLM_KEY_FILE": str(tmp_path / "key")}
    )
    assert settings.endpoint().api_key == "sk-secret"
    assert "sk-secret" not in provenance(settings).identity


def test_nothing_is_told_unless_it_is_allowed() -> None:
    """Without a list no attribute leaves for an endpoint; the local model may be told all."""
    assert chat_plan(load_settings("openai", None, GOOD)).allowed == ()
    assert chat_plan(WriterSettings(writer="local")).allowed is None


def test_how_hard_is_asked_is_not_what_is_asked() -> None:
    """Concurrency, budget, key and address leave the writer's identity alone."""
    plain = load_settings("openai", None, GOOD)
    busy = GOOD | {"CHOIRREC_LLM_CONCURRENCY": "1", "CHOIRREC_LLM_BASE_URL": "http://b/v1"}
    assert provenance(plain) == provenance(load_settings("openai", None, busy))
    longer = GOOD | {"CHOIRREC_LLM_MAX_TOKENS": "500"}
    assert provenance(plain) != provenance(load_settings("openai", None, longer))
