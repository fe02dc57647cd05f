"""Problem documents for everything the framework itself refuses."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service.api.http import problem_headers, request_id_of
from service.errors import PROBLEM_MEDIA_TYPE, PROBLEMS, ServiceError, problem_body

_CODES: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}


class ProblemResponse(JSONResponse):
    """A response of type application/problem+json."""

    media_type = PROBLEM_MEDIA_TYPE


def install_problems(app: FastAPI) -> None:
    """Make every error of an app a problem document."""

    @app.exception_handler(ServiceError)
    async def told(request: Request, error: ServiceError) -> ProblemResponse:
        return _problem(request, error.code, error.detail, **error.members)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> ProblemResponse:
        code = _CODES.get(error.status_code, "invalid_request")
        detail = f"{request.method} {request.url.path}: {error.detail}"
        response = _problem(request, code, detail)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> ProblemResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        told = str(first["msg"]).removeprefix("Value error, ")
        code = "malformed_json" if first["type"] == "json_invalid" else "invalid_request"
        return _problem(request, code, f"{place}: {told}")

    @app.exception_handler(Exception)
    async def mistaken(request: Request, error: Exception) -> ProblemResponse:
        detail = f"the service made a mistake: {type(error).__name__}; see its log"
        return _problem(request, "internal", detail)


def _problem(request: Request, code: str, detail: str, **members: Any) -> ProblemResponse:
    request_id = request_id_of(dict(request.headers.raw))
    body = {**members, **problem_body(code, detail, request.url.path, request_id)}
    headers = {"x-request-id": request_id}
    headers |= {name.decode(): value.decode() for name, value in problem_headers(code)}
    return ProblemResponse(body, status_code=PROBLEMS[code].status, headers=headers)
