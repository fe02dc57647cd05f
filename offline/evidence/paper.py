"""The paper's figures, beside which ours stand; they are of other data and no target."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scores:
    """A row of the paper's Table 1."""

    auc_low: float
    auc_overall: float
    gauc_low: float
    gauc_overall: float


CHOIRREC = "choirrec_aligned"
"""The method that stands for the paper's own (ADR 10)."""
TABLE_1 = {
    "din": Scores(0.9195, 0.9098, 0.7097, 0.7732),
    "poso": Scores(0.9199, 0.9100, 0.7111, 0.7729),
    "cold_transformer": Scores(0.9198, 0.9099, 0.7103, 0.7734),
    "melt": Scores(0.9201, 0.9103, 0.7119, 0.7746),
    "uie": Scores(0.9203, 0.9102, 0.7132, 0.7750),
    CHOIRREC: Scores(0.9225, 0.9116, 0.7179, 0.7768),
}
"""By method; the paper's "Base Model" is ``din``. Source: Table 1."""

TABLE_2 = {
    "w/o LLM Emb.": (-0.0090, -0.0036),
    "w/o ID Emb.": (-0.0024, -0.0006),
    "w/o Attr. Emb.": (-0.0044, -0.0009),
    "w/o Seq. Emb.": (-0.0059, -0.0019),
    "w/o Dual-Channel": (-0.0067, -0.0017),
    "w/o Gated Distillation": (-0.0043, -0.0009),
    "w/o Asymmetric Injection": (-0.0025, -0.0021),
    "w/ KL Loss": (-0.0163, -0.0106),
    "w/o Margin": (-0.0021, -0.0011),
}
"""Relative change of GAUC against the full model, low-activity and overall. Source: Table 2."""

LEVEL_GAINS = {1: 0.01355, 5: 0.00420}
"""Relative gain of GAUC over the base model at the two levels that the text tells. Figure 5."""
ALPHA_RATIO = 2.1
"""Mean alpha_fusion of level 1 over that of level 5. Source: section 5.5."""
CONSISTENCY = 0.83
"""Average share of a group with its most frequent attribute value. Source: section 5.5."""
TOP50_SHARE = 0.60
"""Average share of a group's purchases in its 50 most bought leaf categories. Section 5.5."""
BEST_CODES_PER_LEVEL = 256
"""Of 32 to 512. Source: Figure 6a."""
BEST_DISTILLATION_WEIGHT = 0.005
"""Source: Figure 6b."""


def gain_over(method: str) -> tuple[float, float] | None:
    """The paper's relative GAUC gain of ChoirRec over a method, low-activity and overall.

    Args:
        method: a name in ``TABLE_1``.

    Returns:
        Two ratios minus 1; None for a method that the paper does not show.
    """
    if method not in TABLE_1 or method == CHOIRREC:
        return None
    best, other = TABLE_1[CHOIRREC], TABLE_1[method]
    return best.gauc_low / other.gauc_low - 1, best.gauc_overall / other.gauc_overall - 1
