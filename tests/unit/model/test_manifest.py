"""The manifest: read back as written, and no name in it leads out of the bundle."""

import re

import pytest

from model.manifest import BrokenBundle, ContractParts, Manifest, safe_name


def test_the_manifest_is_read_back() -> None:
    """A manifest survives its JSON, tolerances included."""
    parts = ContractParts("a", "b", "c", "d")
    manifest = Manifest(3, parts.contract, parts, {"x": "0"}, {"seed": 1}, {"auc_low": 0.5})
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.tolerances["CPUExecutionProvider"] == 1e-5


@pytest.mark.parametrize("name", ["", "/x", "../x", "a/../../x", "a//b", "./a", "a/", "a\\b", ".."])
def test_unsafe_names_are_refused(name: str) -> None:
    """No name leads out of a bundle, on any system."""
    with pytest.raises(BrokenBundle, match=re.escape(repr(name))):
        safe_name(name)


def test_safe_names_pass() -> None:
    """Plain relative names pass unchanged."""
    for name in ("a", "a/b.npy", "a..b", "..a"):
        assert safe_name(name) == name
