"""The profile figures: means, spreads and paired differences over seeds, and words for them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

MEASURES = ("purity", "nmi")
NO_ENCODER = "none"
"""Where vectors stand that no text encoder made."""
PAIRS = (
    ("template", "raw_log"),
    ("template", "raw_list"),
    ("template", "raw_sections"),
    ("template", "attributes"),
    ("template", "user_ids"),
    ("aligned", "template_in_world"),
    ("aligned", "raw_list"),
    ("local_llm", "template"),
    ("local_llm", "digest"),
    ("local_llm", "raw_log"),
    ("local_llm", "raw_list"),
    ("local_llm", "user_ids"),
    ("local_llm_alone", "template_alone"),
    ("local_llm_alone", "digest_alone"),
    ("local_llm_alone", "raw_list"),
)
"""Texts whose difference is told."""

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Of one seed, by encoder, text and measure; ``<measure>_by_chance`` beside each measure."""


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1), and the value of every seed."""
    return {
        "mean": round(statistics.fmean(values), 4),
        "std": round(statistics.stdev(values), 4),
        "by_seed": [round(value, 4) for value in values],
    }


def summary(seeds: Sequence[Figures]) -> dict[str, Any]:
    """Figures over seeds.

    Args:
        seeds: of every seed, the same encoders and texts in each.

    Returns:
        By encoder, text and measure: ``spread``, and the mean ``chance``.
    """
    return {
        encoder: {text: _measures(seeds, encoder, text) for text in texts}
        for encoder, texts in seeds[0].items()
    }


def _measures(seeds: Sequence[Figures], encoder: str, text: str) -> dict[str, Any]:
    found = [figures[encoder][text] for figures in seeds]
    return {
        measure: spread([one[measure] for one in found])
        | {"chance": round(statistics.fmean(one[f"{measure}_by_chance"] for one in found), 4)}
        for measure in MEASURES
    }


def differences(seeds: Sequence[Figures]) -> dict[str, Any]:
    """One text minus another on the same users, seed by seed.

    Args:
        seeds: as for ``summary``.

    Returns:
        By encoder, pair and measure: ``spread`` of the differences, and on how many seeds the
        first text is ahead.
    """
    return {
        encoder: {
            f"{one} - {other}": {
                measure: _difference(seeds, encoder, (one, other), measure) for measure in MEASURES
            }
            for one, other in PAIRS
            if one in texts
        }
        for encoder, texts in seeds[0].items()
        if encoder != NO_ENCODER
    }


def _difference(
    seeds: Sequence[Figures], encoder: str, pair: tuple[str, str], measure: str
) -> dict[str, Any]:
    ones, others = ([_value(figures, encoder, text, measure) for figures in seeds] for text in pair)
    gaps = [one - other for one, other in zip(ones, others, strict=True)]
    return spread(gaps) | {"seeds_ahead": sum(gap > 0 for gap in gaps)}


def _value(figures: Figures, encoder: str, text: str, measure: str) -> float:
    return figures[encoder if text in figures[encoder] else NO_ENCODER][text][measure]


def in_words(gaps: Mapping[str, Any]) -> list[str]:
    """Where the small language model stands, in plain words.

    Args:
        gaps: as ``differences`` gives them.

    Returns:
        A line per encoder and text that it is held against.
    """
    return [
        _sentence(encoder, pair, gap)
        for encoder, pairs in gaps.items()
        for pair, gap in pairs.items()
        if pair.startswith("local_llm")
    ]


def _sentence(encoder: str, pair: str, gap: Mapping[str, Any]) -> str:
    one, _, other = pair.partition(" - ")
    nmi, purity = gap["nmi"], gap["purity"]
    return (
        f"{encoder}: {one} {_verb(nmi)} {other}: NMI {nmi['mean']:+.2f}, ahead on"
        f" {nmi['seeds_ahead']} of {len(nmi['by_seed'])} seeds; purity {purity['mean']:+.2f}"
    )


def _verb(gap: Mapping[str, Any]) -> str:
    """Beats or loses to, or neither where the mean is within its own standard error."""
    if abs(gap["mean"]) <= gap["std"] / math.sqrt(len(gap["by_seed"])):
        return "is level with"
    return "beats" if gap["mean"] > 0 else "loses to"
