"""The OpenAPI document: the bare routes' schemas are taken from the types that decode them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from service.api.feedback import FeedbackRequest, FeedbackResponse
from service.api.wire import BatchRequest, BatchResponse, ScoreRequest, ScoreResponse
from service.errors import PROBLEM_MEDIA_TYPE, PROBLEMS

_REFERENCE = "#/components/schemas/{name}"
_SCORING_CODES = (
    *("malformed_json", "unauthorised", "method_not_allowed", "receipt_timeout", "body_too_large"),
    *("unsupported_encoding", "invalid_request", "internal", "not_ready"),
)
_FEEDBACK_CODES = (*_SCORING_CODES, "no_log")
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
    """JSON schemas of the types of the scoring and feedback routes, by name."""
    types = (
        *(ScoreRequest, ScoreResponse, BatchRequest, BatchResponse),
        *(FeedbackRequest, FeedbackResponse),
    )
    _, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    return dict(components)


def with_bare_routes(document: dict[str, Any]) -> dict[str, Any]:
    """Add the routes that stand outside the framework to a generated document.

    Args:
        document: what the framework generated for the other routes.

    Returns:
        The same document, completed.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= wire_schemas() | {"Problem": _PROBLEM_SCHEMA}
    document["paths"] |= {
        "/score": _operation(
            "score", "Score one user's candidates", "Score", {"200": "Answered"}, _SCORING_CODES
        ),
        "/score/batch": _operation(
            "batch",
            "Score several requests, each with one model version and generation",
            "Batch",
            {"200": "Answered"},
            _SCORING_CODES,
        ),
        "/feedback": _operation(
            "feedback",
            "Tell what became of answered requests",
            "Feedback",
            {"202": "Taken; readable once the log's file is closed"},
            _FEEDBACK_CODES,
        ),
    }
    return document


def _operation(
    name: str, summary: str, types: str, answered: Mapping[str, str], codes: Sequence[str]
) -> dict[str, Any]:
    problem = _content(PROBLEM_MEDIA_TYPE, "Problem")
    problems = {
        str(PROBLEMS[code].status): {"description": PROBLEMS[code].title, "content": problem}
        for code in codes
    }
    response = _content("application/json", f"{types}Response")
    answers = {
        status: {"description": text, "content": response} for status, text in answered.items()
    }
    request = _content("application/json", f"{types}Request")
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {"required": True, "content": request},
            "responses": {**answers, **problems},
        }
    }


def _content(media_type: str, schema: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REFERENCE.format(name=schema)}}}
