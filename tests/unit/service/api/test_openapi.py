"""The OpenAPI document against the types that decode and the bytes that are sent."""

import json
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator

from service.api.feedback import FeedbackRequest, FeedbackResponse
from service.api.openapi import wire_schemas
from service.api.wire import BatchRequest, BatchResponse, ScoreRequest, ScoreResponse
from tests.fixtures.services import LiveService, body

VALID = [
    body(),
    body(7, [1, "a"]),
    body(context={"hour": 3}, request_id="r-1", request_time=1_700_000_000.5),
    body(context={}, user_attributes={"age": 30, "income": 3.5, "city": None}),
]
INVALID = [
    body(item_ids=[]),
    body(user_id=None),
    body(user_id=1.5),
    body(item_ids="item-1"),
    body(item_ids=[None]),
    body(context={"hour": 24}),
    body(context={"weekday": -1}),
    body(context={"minute": 1}),
    body(user_attributes=[]),
    body(user_attributes={"a": {}}),
    body(user_attributes={str(n): 1 for n in range(65)}),
    body(request_time="now"),
    body(request_id="two words"),
    body(surprise=1),
    '{"user_id": "u"}',
    "[]",
]


@pytest.fixture(scope="module")
def document(live: LiveService) -> dict[str, Any]:
    """What the service publishes."""
    return dict(live.http.get("/openapi.json").json())


def _validator(document: dict[str, Any], name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(schema)


def test_published_schemas_are_those_of_the_types(document: dict[str, Any]) -> None:
    """The document cannot fall behind the decoder."""
    types = (
        *(ScoreRequest, ScoreResponse, BatchRequest, BatchResponse),
        *(FeedbackRequest, FeedbackResponse),
    )
    _, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    published = document["components"]["schemas"]
    assert {name: published[name] for name in components} == json.loads(json.dumps(components))
    assert wire_schemas() == components


@pytest.mark.parametrize("text", VALID)
def test_what_the_schema_allows_is_answered(
    live: LiveService, document: dict[str, Any], text: str
) -> None:
    """A client generated from the document is understood, and its answers are as described."""
    assert _validator(document, "ScoreRequest").is_valid(json.loads(text))
    reply = live.post(text)
    assert reply.status_code == 200
    _validator(document, "ScoreResponse").validate(reply.json())


@pytest.mark.parametrize("text", INVALID)
def test_what_the_schema_forbids_is_refused(
    live: LiveService, document: dict[str, Any], text: str
) -> None:
    """Document and decoder forbid the same, and refusals are problems as described."""
    assert not _validator(document, "ScoreRequest").is_valid(json.loads(text))
    reply = live.post(text)
    assert reply.status_code == 422
    _validator(document, "Problem").validate(reply.json())


def test_batch_is_as_described(live: LiveService, document: dict[str, Any]) -> None:
    """Batches have a schema, too."""
    reply = live.post(f'{{"requests": [{", ".join(VALID)}]}}', "/score/batch")
    assert reply.status_code == 200
    _validator(document, "BatchResponse").validate(reply.json())


def test_every_path_of_the_document_exists(live: LiveService, document: dict[str, Any]) -> None:
    """Nothing is described that is not there."""
    for path, operations in document["paths"].items():
        for method in operations:
            reply: httpx.Response = live.http.request(method.upper(), path)
            assert reply.status_code not in (404, 405), path
