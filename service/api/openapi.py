"""The OpenAPI document: the scoring route's schema is taken from the types that decode it."""

from typing import Any

import msgspec

from service.api.wire import BatchRequest, BatchResponse, ScoreRequest, ScoreResponse
from service.errors import PROBLEM_MEDIA_TYPE, PROBLEMS

_REFERENCE = "#/components/schemas/{name}"
_SCORING_CODES = (
    *("malformed_json", "unauthorised", "method_not_allowed", "receipt_timeout", "body_too_large"),
    *("unsupported_encoding", "invalid_request", "internal", "not_ready"),
)
_PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "A problem document (RFC 9457); `error` repeats `detail`.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "error": {"type": "string"},
        "code": {"type": "string", "enum": sorted(PROBLEMS)},
        "request_id": {"type": "string"},
    },
    "required": [
        *("type", "title", "status", "detail", "instance", "error", "code", "request_id"),
    ],
}


def wire_schemas() -> dict[str, Any]:
    """JSON schemas of the scoring route's types, by name."""
    types = (ScoreRequest, ScoreResponse, BatchRequest, BatchResponse)
    _, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    return dict(components)


def with_scoring(document: dict[str, Any]) -> dict[str, Any]:
    """Add the scoring route to a generated document.

    Args:
        document: what the framework generated for the other routes.

    Returns:
        The same document, completed.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= wire_schemas() | {"Problem": _PROBLEM_SCHEMA}
    document["paths"]["/score"] = _operation("score", "ScoreRequest", "ScoreResponse")
    document["paths"]["/score/batch"] = _operation("batch", "BatchRequest", "BatchResponse")
    return document


def _operation(name: str, request: str, response: str) -> dict[str, Any]:
    summaries = {
        "score": "Score one user's candidates",
        "batch": "Score several requests with one model version and generation",
    }
    problem = _content(PROBLEM_MEDIA_TYPE, "Problem")
    problems = {
        str(PROBLEMS[code].status): {"description": PROBLEMS[code].title, "content": problem}
        for code in _SCORING_CODES
    }
    answered = {"description": "Answered", "content": _content("application/json", response)}
    return {
        "post": {
            "operationId": name,
            "summary": summaries[name],
            "requestBody": {"required": True, "content": _content("application/json", request)},
            "responses": {"200": answered, **problems},
        }
    }


def _content(media_type: str, schema: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REFERENCE.format(name=schema)}}}
