"""The sealed files: hashed as operators hash them."""

import hashlib
from pathlib import Path

from model.sealed_files import file_digest


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    """File digests are plain SHA-256, so that operators can check them with sha256sum."""
    (tmp_path / "x").write_bytes(b"abc" * 10**6)
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"abc" * 10**6).hexdigest()
