"""The scoring call's JSON: its schema, and the way from bytes to a call that can be trusted."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeGuard, TypeVar

import msgspec

from model.spec import MAX_ID_BYTES
from service.api.http import REQUEST_ID
from service.errors import InvalidRequest, MalformedJson, TooManyCandidates
from service.newcomers import Json
from service.scorer import Moment

EARLIEST_S = 946_684_800
"""2000-01-01: no request is answered for a moment before it."""
LATEST_AHEAD_S = 86_400
"""No request is answered for a moment further ahead of this machine's clock."""
MAX_ATTRIBUTES = 64

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_BYTES)] | int
"""At most so many bytes, too; what is too long in characters is refused while it is parsed."""
Body = TypeVar("Body")


class Context(msgspec.Struct, forbid_unknown_fields=True):
    """What the caller knows of the moment; absent parts are taken from request_time, in UTC."""

    hour: Annotated[int, msgspec.Meta(ge=0, le=23, description="Hour of day")] | None = None
    weekday: Annotated[int, msgspec.Meta(ge=0, le=6, description="Monday = 0")] | None = None


class ScoreRequest(msgspec.Struct, forbid_unknown_fields=True):
    """One user and the candidates to score.

    Ids are strings of 1 to 64 bytes in UTF-8; JSON integers are turned into strings.
    """

    user_id: Id
    item_ids: Annotated[list[Id], msgspec.Meta(min_length=1, description="Candidates, in order")]
    context: Context | None = None
    user_attributes: (
        Annotated[
            dict[str, Json],
            msgspec.Meta(
                max_length=MAX_ATTRIBUTES,
                description="Attributes by name, as the model names them. A user without a record "
                "is grouped by them; for a user with one they are checked, not used",
            ),
        ]
        | None
    ) = None
    request_time: (
        Annotated[
            float,
            msgspec.Meta(
                description="Moment the answer is for, in seconds since the epoch; default: now. "
                "From 2000-01-01 to one day ahead"
            ),
        ]
        | None
    ) = None
    request_id: (
        Annotated[
            str,
            # Not as msgspec's own pattern: in Python "$" also matches before a last newline.
            msgspec.Meta(
                description="Echoed; made up when absent",
                extra_json_schema={"pattern": f"^{REQUEST_ID}$"},
            ),
        ]
        | None
    ) = None


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Several scoring requests, answered in order, each by one model version and generation."""

    requests: Annotated[list[ScoreRequest], msgspec.Meta(min_length=1)]


class UserReport(msgspec.Struct):
    """What the answer knew of the user."""

    status: Literal["known", "newcomer", "unknown", "unavailable"]
    activity_level: Annotated[int, msgspec.Meta(ge=1, le=5)] | Literal["unknown"]
    group_id: list[int]
    """One code per level; empty: no group."""
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] | None
    """In a group_id given by the request's attributes; null: they were not used."""
    prefix_used: list[int]
    """The prefix group whose prior was used; empty: the global prior."""


class ScoreResponse(msgspec.Struct):
    """Columns with one value per candidate, in the request's order."""

    item_ids: list[str]
    scores: list[float]
    individual_logits: list[float]
    group_logits: list[float]
    fused_logits: list[float]
    item_status: list[Literal["known", "new", "unknown"]]
    alpha_fusion: float
    user: UserReport
    model_version: int
    generation: str
    bundle_digest: str
    request_id: str
    degraded: list[str]
    """Why the answer rests on less than it could; empty: full service."""


class BatchResponse(msgspec.Struct):
    """Answers in the order of the requests."""

    responses: list[ScoreResponse]


@dataclass(frozen=True)
class Call:
    """One checked scoring request."""

    user_id: str
    item_ids: Sequence[str]
    moment: Moment
    attributes: Mapping[str, Json] | None
    """What the request tells of its user, not yet checked against a model."""
    request_id: str
    place: str = ""
    """Where it stands in a batch, for messages: "requests[3]." for example."""


@dataclass(frozen=True)
class Limits:
    """How much one call may hold."""

    max_candidates: int
    max_batch_requests: int


_single = msgspec.json.Decoder(ScoreRequest)
_batch = msgspec.json.Decoder(BatchRequest)
_LARGEST_INTEGER = 10**MAX_ID_BYTES


def parse_single(body: bytes, limits: Limits, request_id: str) -> list[Call]:
    """Read the body of POST /score.

    Args:
        body: the bytes.
        limits: how much it may hold.
        request_id: the id to use when the body names none.

    Returns:
        The one call.

    Raises:
        MalformedJson, InvalidRequest, TooManyCandidates: naming the place and the value.
    """
    request = decoded(_single, body)
    return [_call(request, limits, request_id, "")]


def parse_batch(body: bytes, limits: Limits, request_id: str) -> list[Call]:
    """Read the body of POST /score/batch; arguments and errors as ``parse_single``."""
    requests = decoded(_batch, body).requests
    if len(requests) > limits.max_batch_requests:
        raise TooManyCandidates(
            f"{len(requests)} requests in one batch, at most {limits.max_batch_requests}; split it"
        )
    return [
        _call(request, limits, f"{request_id}-{n}", f"requests[{n}].")
        for n, request in enumerate(requests)
    ]


def decoded(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    """A body as its schema says; raises InvalidRequest and MalformedJson."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJson(f"the body is not JSON: {error}") from error


def _call(request: ScoreRequest, limits: Limits, request_id: str, where: str) -> Call:
    candidates = request.item_ids
    if len(candidates) > limits.max_candidates:
        raise TooManyCandidates(
            f"{where}item_ids: {len(candidates)} candidates, at most {limits.max_candidates}; "
            "split the request"
        )
    return Call(
        user_id=checked_id(request.user_id, f"{where}user_id"),
        item_ids=_ids(candidates, where),
        moment=_moment(request, where),
        attributes=request.user_attributes,
        request_id=_request_id(request.request_id, request_id, where),
        place=where,
    )


def _ids(values: list[Id], where: str) -> list[str]:
    """Item ids as strings; the common case, ASCII strings, is looked at as a whole."""
    if _all_ascii(values):
        return values
    return [checked_id(value, f"{where}item_ids[{place}]") for place, value in enumerate(values)]


def _all_ascii(values: list[Id]) -> TypeGuard[list[str]]:
    try:
        return "".join(values).isascii()  # type: ignore[arg-type]
    except TypeError:  # integers are among them
        return False


def checked_id(value: Id, where: str) -> str:
    """An id as a string; raises InvalidRequest, naming the place."""
    if isinstance(value, int):
        if abs(value) >= _LARGEST_INTEGER:
            raise InvalidRequest(f"{where}: an integer of more than {MAX_ID_BYTES} digits")
        value = str(value)
    size = len(value.encode())
    if not 0 < size <= MAX_ID_BYTES:
        raise InvalidRequest(f"{where}: {size} bytes, expected 1 to {MAX_ID_BYTES}")
    return value


def _request_id(given: str | None, otherwise: str, where: str) -> str:
    if given is None:
        return otherwise
    if not re.fullmatch(REQUEST_ID, given):
        raise InvalidRequest(
            f"{where}request_id: {given[:140]!r}, expected 1 to 128 printable ASCII characters "
            "without spaces"
        )
    return given


def _moment(request: ScoreRequest, where: str) -> Moment:
    now_s = time.time()
    time_s = now_s if request.request_time is None else request.request_time
    if not EARLIEST_S <= time_s <= now_s + LATEST_AHEAD_S:
        raise InvalidRequest(
            f"{where}request_time: {time_s!r}, expected seconds since the epoch from {EARLIEST_S} "
            "to one day ahead of now"
        )
    context = request.context or Context()
    moment = datetime.fromtimestamp(time_s, UTC)
    return Moment(
        time_s=int(time_s),
        hour=moment.hour if context.hour is None else context.hour,
        weekday=moment.weekday() if context.weekday is None else context.weekday,
    )
