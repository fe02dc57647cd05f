"""Model names: what the metrics say of the models that a worker holds."""

from collections.abc import Iterator

from model.desired import Desired
from service.lifecycle.residents import Key, Residents
from service.lifecycle.roles import Roles
from service.lifecycle.served_model import ServedModel
from service.metrics import ModelName


def model_names(residents: Residents, roles: Roles, desired: Desired | None) -> Iterator[ModelName]:
    """One name per model that is held ready, or that still ends its last requests.

    Args:
        residents: what is held.
        roles: who answers.
        desired: says what the others are held for.
    """
    for key, resident in residents:
        if resident.served is not None:
            yield _name(_role(key, resident.served, roles, desired), resident.served)
    for served in residents.draining:
        yield _name("draining", served)


def _role(key: Key, served: ServedModel, roles: Roles, desired: Desired | None) -> str:
    if served is roles.champion:
        return "champion"
    if served is roles.canary:
        return "canary"
    return "candidate" if desired is not None and key == desired.candidate else "previous"


def _name(role: str, served: ServedModel) -> ModelName:
    version, digest = str(served.version), served.bundle_digest[:12]
    return ModelName(role, version, served.generation_name, digest, served.loaded.provider)
