"""Every model by name, made for a small world: for promises that all of them keep."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from model.baselines.cold_transformer import ColdTransformer
from model.baselines.din import Din
from model.baselines.matched_din import MatchedDin
from model.baselines.poso import Poso
from model.baselines.size_match import Maker
from model.losses import LossConfig
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from model.network.contract import ConversionModel
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


MODELS: Mapping[str, Made] = {
    "choirrec": _choirrec,
    "din": _din,
    "poso": partial(_poso, sequence_gate=False),
    "poso with a sequence gate": partial(_poso, sequence_gate=True),
    "cold_transformer": _cold_transformer,
    "matched_din": _matched_din,
    "matched_din with user vectors": _matched_din_with_vectors,
}


def makers(drawn: World) -> Mapping[str, Maker]:
    """The models of a world by name, of any sizes and of one seed."""

    def maker(made: Made) -> Maker:
        return lambda config: made(drawn, config, 1)

    return {name: maker(made) for name, made in MODELS.items()}
