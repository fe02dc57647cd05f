"""The methods by name: what evaluation compares, and what the product trains."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from model.network.variants import VARIANTS
from offline.groupings import PROFILES, Grouping
from offline.methods.choirrec import choirrec
from offline.methods.cold_transformer import cold_transformer
from offline.methods.din import din, matched_din
from offline.methods.melt import melt
from offline.methods.method import Method
from offline.methods.popularity import popularity
from offline.methods.poso import poso
from offline.methods.saviorrec import saviorrec
from offline.methods.uie import uie

ALIGNED = Grouping("aligned")
ORACLE = Grouping("oracle")
BAYES = Grouping("bayes")
USER_ROWS = Grouping("user_rows")


def _choirrec(name: str, title: str, grouping: Grouping = PROFILES, **options: Any) -> Method:
    permuted = options.pop("permuted", False)
    return Method(
        name, title, choirrec, options, grouping=grouping, permuted=permuted, matched=False
    )


def _by_name(methods: Iterable[Method]) -> dict[str, Method]:
    return {method.name: method for method in methods}


def _variant(name: str) -> Method:
    title = f"ChoirRec, {VARIANTS[name].title}"
    return _choirrec(f"choirrec_{name}", title, ALIGNED, variant=name)


CODES_SWEEP = (3, 12, 24)
"""k besides the sizing rule's own; on 30,000 users that is 6 (Figure 6a)."""
WEIGHT_SWEEP = (0.001, 0.02)
"""lambda besides the paper's 0.005 (Figure 6b)."""

METHODS = _by_name(
    (
        Method("popularity", "Popularity", popularity, matched=False),
        Method("din_base", "DIN, as designed", din, matched=False),
        Method("din", "DIN, matched width", din),
        Method("din_activity", "DIN + activity (matched)", matched_din),
        Method("din_vector", "DIN + activity + user vector", matched_din, needs=("user_vectors",)),
        Method(
            "din_aligned_vector",
            "DIN + activity + aligned vector",
            matched_din,
            grouping=ALIGNED,
            needs=("user_vectors",),
        ),
        Method("poso", "POSO", poso),
        Method("cold_transformer", "Cold-Transformer", cold_transformer, needs=("clicks",)),
        Method("melt", "MELT", melt, needs=("item_contexts",)),
        Method("uie", "UIE", uie),
        Method("saviorrec", "SaviorRec", saviorrec, needs=("encoded_items",)),
        _choirrec("choirrec_aligned", "ChoirRec", ALIGNED),
        _choirrec("choirrec_aligned_permuted", "ChoirRec, permuted", ALIGNED, permuted=True),
        _choirrec("choirrec", "ChoirRec, groups of template profiles"),
        _choirrec("choirrec_permuted", "ChoirRec, those permuted", permuted=True),
        _choirrec("choirrec_oracle", "ChoirRec, true archetypes", ORACLE),
        _choirrec("choirrec_bayes", "ChoirRec, Bayes reader's groups", BAYES),
        _choirrec("choirrec_literal", "ChoirRec, losses literal", ALIGNED, auxiliary_weight=0.0),
        _choirrec("choirrec_no_llm", "ChoirRec, groups of user ids", USER_ROWS),
        *(_variant(name) for name in VARIANTS if name != "choirrec"),
        *(
            _choirrec(f"choirrec_k{k}", f"ChoirRec, k = {k}", replace(ALIGNED, codes_per_level=k))
            for k in CODES_SWEEP
        ),
        *(
            _choirrec(
                f"choirrec_lambda_{weight}",
                f"ChoirRec, lambda = {weight}",
                ALIGNED,
                distillation_weight=weight,
            )
            for weight in WEIGHT_SWEEP
        ),
    )
)
"""All methods; tables of methods for a protocol stand in ``offline/evidence/plan.py``."""


def method_of(name: str) -> Method:
    """A method by name.

    Raises:
        KeyError: when there is none of that name.
    """
    if name not in METHODS:
        raise KeyError(f"no method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
