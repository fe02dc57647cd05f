"""The layout: which methods make which table."""

from dataclasses import dataclass

from offline.evidence.paper import CHOIRREC
from offline.methods.registry import CODES_SWEEP, WEIGHT_SWEEP


@dataclass(frozen=True)
class Layout:
    """Names of methods, as the results have them, by the table in which they stand."""

    subject: str
    """What the claim is about."""
    permuted: str
    """The same with permuted groups: the control for groups."""
    base: str
    """The base model, over which gains by level are told."""
    compared: tuple[str, ...]
    """Rows of Table 1 whose differences make up Holm's family, controls among them."""
    bounds: tuple[str, ...]
    """Rows of Table 1 outside of the family: models of another size, or that know the truth."""
    ablations: tuple[tuple[str, str], ...]
    """Method and its name in the paper's Table 2, or another name for a row the paper lacks."""
    codes_sweep: tuple[tuple[int, str], ...]
    """k and the method with k codes per level (Figure 6a); the subject's own point is left out."""
    weight_sweep: tuple[tuple[float, str], ...]
    """lambda and the method with that weight of distillation (Figure 6b)."""
    seedless: tuple[str, ...] = ("popularity",)
    """Methods that no seed decides: one cell stands for all."""


LAYOUT = Layout(
    subject=CHOIRREC,
    permuted="choirrec_aligned_permuted",
    base="din",
    compared=(
        "popularity",
        "din",
        "din_activity",
        "din_aligned_vector",
        "poso",
        "cold_transformer",
        "melt",
        "uie",
        "saviorrec",
        "choirrec_aligned_permuted",
    ),
    bounds=(
        "din_base",
        "din_vector",
        "choirrec",
        "choirrec_permuted",
        "choirrec_literal",
        "choirrec_bayes",
        "choirrec_oracle",
    ),
    ablations=(
        ("choirrec_no_llm", "w/o LLM Emb."),
        ("choirrec_no_group_id", "w/o ID Emb."),
        ("choirrec_no_group_attributes", "w/o Attr. Emb."),
        ("choirrec_no_group_sequence", "w/o Seq. Emb."),
        ("choirrec_no_dual_channel", "w/o Dual-Channel"),
        ("choirrec_no_distillation", "w/o Gated Distillation"),
        ("choirrec_no_injection", "w/o Asymmetric Injection"),
        ("choirrec_kl", "w/ KL Loss"),
        ("choirrec_no_margin", "w/o Margin"),
        ("choirrec_no_gates", "distillation without gates"),
        ("choirrec_impute_individual", "attributes substituted in the individual channel"),
    ),
    codes_sweep=tuple((k, f"choirrec_k{k}") for k in CODES_SWEEP),
    weight_sweep=tuple((weight, f"choirrec_lambda_{weight}") for weight in WEIGHT_SWEEP),
)
"""The paper's tables with this project's controls."""
