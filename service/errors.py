"""The errors callers meet: one tree, and one table that gives each code its status and title.

ServiceError
├── RequestError                the caller can mend it
│   ├── MalformedJson           malformed_json
│   ├── InvalidRequest          invalid_request
│   ├── TooManyCandidates       too_many_candidates
│   ├── BodyTooLarge            body_too_large
│   ├── UnsupportedEncoding     unsupported_encoding
│   ├── MethodNotAllowed        method_not_allowed
│   └── Unauthorised            unauthorised
├── NotReady                    not_ready
├── ScoringFailed               scoring_failed
├── NoLog                       no_log
├── LogFull                     log_full
├── LoadError                   the operator can mend it
│   ├── LoadRefused             load_refused
│   │   └── LoadUnavailable     load_refused
│   └── LoadInProgress          load_in_progress
└── ControlError                a change of the desired state that was not made
    ├── ChangeRefused           change_refused
    ├── GuardRefused            guard_refused
    ├── NotConverged            not_converged
    └── StateUnavailable        state_unavailable
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

PROBLEM_MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """How a code is told over HTTP (RFC 9457)."""

    status: int
    title: str


PROBLEMS: Mapping[str, Problem] = {
    "malformed_http": Problem(400, "The bytes are not an HTTP request"),
    "malformed_json": Problem(400, "The body is not JSON"),
    "unauthorised": Problem(401, "The API key is missing or wrong"),
    "not_found": Problem(404, "There is nothing at this path"),
    "no_log": Problem(404, "No log is kept here, so there is nothing to add an outcome to"),
    "method_not_allowed": Problem(405, "The path exists, but not for this method"),
    "receipt_timeout": Problem(408, "The request did not arrive in time"),
    "load_in_progress": Problem(409, "Another load is under way"),
    "change_refused": Problem(409, "The change makes no sense in the present state"),
    "guard_refused": Problem(409, "A guard says no; force overrules it"),
    "not_converged": Problem(409, "Not every worker followed the change"),
    "body_too_large": Problem(413, "The body is too large"),
    "too_many_candidates": Problem(413, "The request holds too many candidates"),
    "unsupported_encoding": Problem(415, "The body is compressed"),
    "invalid_request": Problem(422, "The request is not as the schema says"),
    "load_refused": Problem(422, "The model version or generation was refused"),
    "headers_too_large": Problem(431, "The headers are too large"),
    "internal": Problem(500, "The service made a mistake"),
    "scoring_failed": Problem(500, "The model gave no finite score"),
    "not_ready": Problem(503, "No model is active yet"),
    "log_full": Problem(503, "The log does not keep up; nothing of the request was taken"),
    "state_unavailable": Problem(503, "The desired state cannot be read or written"),
}
"""Every code a problem can carry."""


class ServiceError(Exception):
    """An error with a code of ``PROBLEMS`` and a detail for people."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str, **members: Any) -> None:
        """Tell it.

        Args:
            detail: what failed, the value, what was expected, how to mend it.
            members: further members of the problem document, for programs; JSON values.
        """
        super().__init__(detail)
        self.detail = detail
        self.members = members


class RequestError(ServiceError):
    """The request cannot be served as it stands."""


class MalformedJson(RequestError):
    """The body is not JSON in UTF-8."""

    code = "malformed_json"


class InvalidRequest(RequestError):
    """The body is JSON, but not a request of the schema."""

    code = "invalid_request"


class TooManyCandidates(RequestError):
    """More candidates or more requests than one call may hold."""

    code = "too_many_candidates"


class BodyTooLarge(RequestError):
    """More bytes than the limit, announced or sent."""

    code = "body_too_large"


class UnsupportedEncoding(RequestError):
    """A compressed body."""

    code = "unsupported_encoding"


class MethodNotAllowed(RequestError):
    """Another method than POST."""

    code = "method_not_allowed"


class Unauthorised(RequestError):
    """No API key, or another one."""

    code = "unauthorised"


class NotReady(ServiceError):
    """No model version is active."""

    code = "not_ready"


class ScoringFailed(ServiceError):
    """The graphs gave NaN or infinity, even for an unknown user."""

    code = "scoring_failed"


class NoLog(ServiceError):
    """Outcomes for a service that keeps no log."""

    code = "no_log"


class LogFull(ServiceError):
    """Outcomes that could not be taken; nothing of them was, so they can be sent again."""

    code = "log_full"


class LoadError(ServiceError):
    """A load that did not activate anything; what served before still serves."""


class LoadRefused(LoadError):
    """The version or the generation must not serve: the exact reason."""

    code = "load_refused"


class LoadUnavailable(LoadRefused):
    """What a load needs cannot be reached, or is not there yet: later it may be."""


class LoadInProgress(LoadError):
    """One load at a time."""

    code = "load_in_progress"


class ControlError(ServiceError):
    """A change of the desired state that was not made, or not followed everywhere."""


class ChangeRefused(ControlError):
    """What was asked for makes no sense in the present state: why."""

    code = "change_refused"


class GuardRefused(ControlError):
    """A guard says no, with its reasons; the operator may overrule it."""

    code = "guard_refused"


class NotConverged(ControlError):
    """Not every worker followed; member ``verdicts`` holds what each says."""

    code = "not_converged"


class StateUnavailable(ControlError):
    """The state store cannot be read or written: which one, and why."""

    code = "state_unavailable"


def problem_body(code: str, detail: str, instance: str, request_id: str) -> dict[str, str | int]:
    """A problem document (RFC 9457) with the members that Open Inference clients read.

    Args:
        code: a key of ``PROBLEMS``.
        detail: the error's own words.
        instance: the path of the request.
        request_id: the id under which the caller can ask about it.

    Returns:
        The members of the document; ``error`` repeats ``detail``.
    """
    problem = PROBLEMS[code]
    return {
        "type": f"urn:choirrec:problem:{code}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": instance,
        "error": detail,
        "code": code,
        "request_id": request_id,
    }


def problem_table() -> str:
    """The table of codes as Markdown, for the documentation."""
    rows = [f"| `{code}` | {p.status} | {p.title} |" for code, p in PROBLEMS.items()]
    return "\n".join(["| code | status | meaning |", "|---|---|---|", *rows])
