"""Every model by name, made for a small world: for promises that all of them keep."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.assembly import Catalogue
from model.baselines.cold_transformer import ColdTransformer
from model.baselines.din import Din
from model.baselines.item_contexts import ItemContexts
from model.baselines.matched_din import MatchedDin
from model.baselines.melt import Melt
from model.baselines.poso import Poso
from model.baselines.saviorrec import SaviorRec
from model.baselines.size_match import Maker
from model.baselines.uie import Uie
from model.losses import LossConfig
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from model.network.contract import ConversionModel
from model.spec import FIRST_CODE
from offline.histories import EventLog, Histories
from offline.item_contexts import item_contexts
from tests.synthetic import World

Made = Callable[[World, NetworkConfig, int], ConversionModel]
"""Makes a model of a world, with sizes and a seed."""


def _choirrec(drawn: World, config: NetworkConfig, seed: int) -> ConversionModel:
    return ChoirRec(drawn.spec, config, drawn.lookups, LossConfig(), seed)


def _din(drawn: World, config: NetworkConfig, seed: int) -> ConversionModel:
    return Din(drawn.spec, config, drawn.lookups, seed)


def _poso(drawn: World, config: NetworkConfig, seed: int, sequence_gate: bool) -> ConversionModel:
    return Poso(drawn.spec, config, drawn.lookups, seed, sequence_gate)


def _cold_transformer(drawn: World, config: NetworkConfig, seed: int) -> ConversionModel:
    return ColdTransformer(drawn.spec, config, drawn.lookups, seed)


def _matched_din(drawn: World, config: NetworkConfig, seed: int) -> ConversionModel:
    return MatchedDin(drawn.spec, config, drawn.lookups, seed)


def _matched_din_with_vectors(drawn: World, config: NetworkConfig, seed: int) -> ConversionModel:
    users = int(drawn.split.context_user.max()) + 1
    vectors = np.random.default_rng(5).normal(size=(users + 1, 9)).astype(np.float32)
    vectors[0] = 0.0
    return MatchedDin(drawn.spec, config, drawn.lookups, seed, vectors)


def histories(purchases: EventLog) -> Histories:
    """Histories of which only the purchases matter."""
    users = len(purchases.offsets) - 1
    none = np.zeros(0, np.int64)
    nothing = EventLog.build(none, none, np.zeros(0, np.uint64), users)
    return Histories(
        user_ids=[str(user) for user in range(users)],
        attributes=np.zeros((users, 0), np.int32),
        continuous=np.zeros((users, 0), np.float32),
        purchases=purchases,
        clicks=nothing,
        searches=nothing,
    )


def contexts_of(drawn: World) -> ItemContexts:
    """Purchases before training, a few users and items buying and bought much more than others."""
    rng, items = np.random.default_rng(4), len(drawn.lookups.item_codes) - FIRST_CODE
    users = np.minimum(rng.geometric(0.1, 120) - 1, 29)
    bought = np.minimum(rng.geometric(0.1, 120) - 1, items - 1).astype(np.uint64)
    times = rng.integers(0, 10_000_000, 120)
    catalogue = Catalogue(np.arange(items, dtype=np.uint64), np.zeros((items, 0), np.int32))
    return item_contexts(catalogue, histories(EventLog.build(users, times, bought, 30)), 2**40)


def modal_of(drawn: World) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors and residual codes of items; nothing is known of the first four rows."""
    rng, rows = np.random.default_rng(5), len(drawn.lookups.item_codes)
    vectors = rng.normal(size=(rows, 8)).astype(np.float32)
    codes = rng.integers(0, 5, (rows, 3))
    vectors[:4], codes[:4] = 0.0, 5
    return vectors, codes


def _melt(drawn: World, config: NetworkConfig, seed: int) -> ConversionModel:
    return Melt(drawn.spec, config, drawn.lookups, contexts_of(drawn), seed)


def _uie(drawn: World, config: NetworkConfig, seed: int) -> ConversionModel:
    return Uie(drawn.spec, config, drawn.lookups, seed)


def _saviorrec(drawn: World, config: NetworkConfig, seed: int) -> ConversionModel:
    return SaviorRec(drawn.spec, config, drawn.lookups, *modal_of(drawn), seed)


MODELS: Mapping[str, Made] = {
    "choirrec": _choirrec,
    "din": _din,
    "poso": partial(_poso, sequence_gate=False),
    "poso with a sequence gate": partial(_poso, sequence_gate=True),
    "cold_transformer": _cold_transformer,
    "matched_din": _matched_din,
    "matched_din with user vectors": _matched_din_with_vectors,
    "melt": _melt,
    "uie": _uie,
    "saviorrec": _saviorrec,
}


def makers(drawn: World) -> Mapping[str, Maker]:
    """The models of a world by name, of any sizes and of one seed."""

    def maker(made: Made) -> Maker:
        return lambda config: made(drawn, config, 1)

    return {name: maker(made) for name, made in MODELS.items()}
