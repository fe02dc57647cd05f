"""Generations: keys and meta documents as readers and writers spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.generation import (
    Generation,
    check_name,
    group_key,
    id_list_key,
    meta_key,
    new_item_key,
    publisher_key,
    user_key,
)

META = Generation("2024-01-01", "c" * 64, 100, 200, 3, 2, 1, 1, complete=True)


def test_keys_are_as_documented() -> None:
    """Keys are those of docs/architecture.md, which other programs may read."""
    assert user_key("g", "u:1") == "choirrec:g:u:u:1"
    assert group_key("g", (3, 1)) == "choirrec:g:g:3.1"
    assert group_key("g", ()) == "choirrec:g:g:"
    assert new_item_key("g", "i") == "choirrec:g:i:i"
    assert meta_key("g") == "choirrec:g:meta"
    assert id_list_key("g", 2) == "choirrec:g:ids:2"


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_id_reaches_another_kind_of_key(user: str, item: str) -> None:
    """Whatever an id holds, its key is never a key of another kind or of the generation itself."""
    own = {meta_key("g"), publisher_key("g"), id_list_key("g", 0), group_key("g", (1,))}
    assert user_key("g", user) not in own
    assert user_key("g", user) != new_item_key("g", item)
    assert new_item_key("g", item) not in own


def test_meta_documents_are_read_back() -> None:
    """A meta document says the same after writing and reading."""
    assert Generation.from_json(META.to_json()) == META
    assert Generation.from_json(META.to_json().encode()) == META


@pytest.mark.parametrize("text", ["{", "[]", "3", "null", '"g"', "{}", '{"name": "g", "x": 1}'])
def test_what_is_no_meta_document_is_refused(text: str) -> None:
    """Anything else under the meta key is a ValueError, never another exception."""
    with pytest.raises(ValueError, match=r".+"):
        Generation.from_json(text)


@pytest.mark.parametrize("name", ["2024-01-01", "a", "A.b_c-9", "x" * 64])
def test_plain_names_pass(name: str) -> None:
    """Names of letters, digits, '.', '_' and '-' are accepted."""
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "a:b", "a b", "-a", ".", "x" * 65, "a\n", "{a}", "é", "a*"])
def test_other_names_are_refused(name: str) -> None:
    """A name that could reach other keys or patterns is refused and shown."""
    with pytest.raises(ValueError, match="expected 1 to 64 letters"):
        check_name(name)
