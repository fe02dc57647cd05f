"""The committed protobuf code is what the schema gives."""

from pathlib import Path

import pytest

from choirrec.v1 import scoring_pb2
from tools import proto


def test_committed_code_is_what_the_schema_gives() -> None:
    """Whoever edits a schema is told to generate its code again."""
    assert proto.drift() == []


def test_drift_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A schema that moved on is reported by the names of the files left behind."""
    package = tmp_path / "choirrec" / "v1"
    package.mkdir(parents=True)
    (package / "moved.proto").write_text('syntax = "proto3";\npackage choirrec.v1;\n')
    monkeypatch.setattr(proto, "SOURCES", tmp_path)
    assert proto.drift() == ["choirrec/v1/moved_pb2.py", "choirrec/v1/moved_pb2.pyi"]


def test_refused_schema_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A schema that does not compile never passes for one that does."""
    (tmp_path / "broken.proto").write_text("this is no schema")
    monkeypatch.setattr(proto, "SOURCES", tmp_path)
    with pytest.raises(RuntimeError, match=r"protoc ended with status 1 for .*broken\.proto"):
        proto.drift()


def test_scoring_wire_carries_the_fields_of_post_score() -> None:
    """The binary face of scoring asks and answers by the names that the JSON face uses."""
    request = set(scoring_pb2.ScoreRequest.DESCRIPTOR.fields_by_name)
    response = set(scoring_pb2.ScoreResponse.DESCRIPTOR.fields_by_name)
    assert request == set(
        "user_id item_ids context user_attributes request_time request_id".split()
    )
    assert response == set(
        "item_ids scores individual_logits group_logits fused_logits item_status alpha_fusion user "
        "model_version generation bundle_digest request_id degraded".split()
    )
