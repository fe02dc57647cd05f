"""The table of problems and the tree of errors."""

import service.errors
from service.errors import PROBLEMS, ServiceError, problem_body


def _tree(root: type[ServiceError]) -> list[type[ServiceError]]:
    return [root, *(found for child in root.__subclasses__() for found in _tree(child))]


def test_every_error_has_a_status_and_stands_in_the_drawn_tree() -> None:
    """Whoever reads the top of the file sees every error, and each has an HTTP status."""
    for error in _tree(ServiceError):
        assert error.code in PROBLEMS
        assert error.__name__ in (service.errors.__doc__ or "")


def test_problem_repeats_its_detail_as_error() -> None:
    """Clients of the Open Inference Protocol find the string they look for."""
    body = problem_body("not_ready", "no model", "/score", "r1")
    assert body["error"] == body["detail"] == "no model"
    assert (body["status"], body["type"]) == (503, "urn:choirrec:problem:not_ready")
