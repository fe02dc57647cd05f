"""Choosing a generation: complete, and of the bundle's feature contract."""

import asyncio

from model.generation import Generation, check_name, meta_key
from service.errors import LoadRefused
from service.features.store import FeatureStore

CONTROL_TIMEOUT_S = 2.0
"""Time for one question to the store outside of requests."""


def control_deadline_s() -> float:
    """The deadline of a question asked now, on the event loop's clock."""
    return asyncio.get_running_loop().time() + CONTROL_TIMEOUT_S


async def choose_generation(store: FeatureStore, contract: str, name: str | None) -> Generation:
    """The generation to serve with a bundle.

    Args:
        store: holds the generations.
        contract: the bundle's feature contract.
        name: the generation asked for; None: the newest complete one with that contract.

    Raises:
        LoadRefused: when it is missing, incomplete, or of another contract.
        StoreUnavailable: when the store cannot be read.
    """
    if name is not None:
        return _fitting(await _named(store, name), contract)
    seen = []
    for candidate in reversed(await store.complete_generations(control_deadline_s())):
        try:
            return _fitting(await _named(store, candidate), contract)
        except LoadRefused as refusal:
            seen.append(refusal.detail)
    reasons = "; ".join(seen[:3]) or "there is no complete generation"
    raise LoadRefused(f"no generation fits the bundle: {reasons}; publish one for this bundle")


async def _named(store: FeatureStore, name: str) -> Generation:
    try:
        (document,) = await store.read([meta_key(check_name(name))], control_deadline_s())
        if document is None:
            raise LoadRefused(f"generation {name} is not in the store; publish it")
        return Generation.from_json(document)
    except ValueError as error:
        raise LoadRefused(f"generation {name}: {error}") from error


def _fitting(generation: Generation, contract: str) -> Generation:
    if not generation.complete:
        raise LoadRefused(f"generation {generation.name} is not complete; publish it again")
    if generation.feature_contract != contract:
        raise LoadRefused(
            f"generation {generation.name} has feature contract {generation.feature_contract}, "
            f"the bundle has {contract}; publish a generation for this bundle"
        )
    return generation
