"""The sections of the group report: figures, the control beside them, and what they mean."""

from collections.abc import Iterable, Sequence
from html import escape

from offline.group_report.content import Alike, Content
from offline.group_report.plots import Row, bars, columns
from offline.group_report.table import number, percent, table

PAPER_CONSISTENCY, PAPER_CONCENTRATION = 0.83, 0.60
"""Section 5.5 of the paper."""
_SEED_NOTE = (
    "The adjusted Rand index says how often two groupings agree on whether two users belong"
    " together: 1 is the same division, 0 what chance would give. The names of the codes do not"
    " count. Moved is the share of users that are not where most of their old group is."
)


def _beside(plot: str, figures: str) -> str:
    return f'<div class="beside"><figure>{plot}</figure>{figures}</div>'


def summary(content: Content) -> str:
    """What matters, beside the control and the paper."""
    served = content.alike[-1]
    rows = [
        ("Users", f"{content.users:,}", "", ""),
        ("Users with a group", f"{content.grouped:,}", "", ""),
        ("Codes per level", f"{content.codes_per_level}", "", "256"),
        (
            "Groups in use, all levels deep",
            f"{content.occupancies[-1].groups:,} / {content.occupancies[-1].possible:,}",
            "",
            "",
        ),
        (
            f"Users in full groups of fewer than {content.n_min}",
            percent(content.occupancies[-1].below_n_min),
            "",
            "",
        ),
        (
            "Energy left after the last level",
            percent(content.levels[-1].residual_energy),
            percent(content.permuted_energy[-1]),
            "",
        ),
        (
            "Attribute consistency",
            percent(served.consistency),
            percent(served.consistency_permuted),
            percent(PAPER_CONSISTENCY),
        ),
        (
            "Purchases in the group's top 50 categories",
            percent(served.concentration),
            percent(served.concentration_permuted),
            percent(PAPER_CONCENTRATION),
        ),
    ]
    advice = [
        f"<strong>Fit again:</strong> {percent(one.drift.far_share)} of the users of"
        f" {escape(one.label)} lie beyond the fitted cut's 95th percentile (the limit is 10 %)."
        for one in content.drifts
        if one.drift.refit
    ]
    return (
        f"<p>{_verdict(served)}</p>"
        + "".join(f'<p class="warning">{text}</p>' for text in advice)
        + table(
            "Figures in short, for the prefix whose prior a user reads",
            ("Figure", "Here", "Permuted groups", "Paper"),
            rows,
        )
        + '<p class="quiet">Permuted groups are the control: the same group sizes among users of'
        " the same activity level, but members by chance. Only what lies above it speaks for the"
        " groups. The paper's figures are of other data and are no target.</p>"
    )


def _verdict(served: Alike) -> str:
    if served.consistency is None or served.consistency_permuted is None:
        told = "No attribute is known of any user with a group."
    else:
        gain = served.consistency - served.consistency_permuted
        told = f"Members share attributes {_points(gain)} chance"
        told += "."
    if served.concentration is not None and served.concentration_permuted is not None:
        gain = served.concentration - served.concentration_permuted
        told += f" Their purchases are concentrated {_points(gain)} chance."
    return told


def _points(gain: float) -> str:
    return f"{abs(gain) * 100:.1f} points {'above' if gain >= 0 else 'below'}"


def levels(content: Content) -> str:
    """Energy, utilisation and perplexity, level by level."""
    rows = [
        Row(f"Level {level.level}", (level.residual_energy, permuted))
        for level, permuted in zip(content.levels, content.permuted_energy, strict=True)
    ]
    top = max(1.0, *content.permuted_energy)
    plot = bars("Energy left after each level", ("groups", "permuted"), rows, top, "%")
    figures = table(
        "How each level divides the users that have a group",
        (
            "Level",
            "Energy left",
            "Permuted",
            "Utilisation",
            "Perplexity",
            "Largest share",
        ),
        [
            (
                str(level.level),
                percent(level.residual_energy),
                percent(permuted),
                percent(level.utilisation),
                f"{level.perplexity:.1f} / {content.codes_per_level}",
                percent(level.largest_share),
            )
            for level, permuted in zip(content.levels, content.permuted_energy, strict=True)
        ],
    )
    return (
        "<p>Energy is what the centroids leave unexplained of the user vectors; it must fall from"
        " level to level. Perplexity tells how many codes are in effective use. A largest share"
        " near 100 % means that profiles hardly differ. Permuting users changes neither"
        " utilisation nor perplexity.</p>" + _beside(plot, figures)
    )


def sizes(content: Content) -> str:
    """How many users the groups of every depth have."""
    deepest = content.occupancies[-1]
    labels = [str(2**band) for band in range(len(deepest.bands))]
    plot = columns(
        "Full groups by size", labels, deepest.bands, "full groups, by users (from … up to twice)"
    )
    figures = table(
        "Users per group that has any",
        ("Depth", "Groups", "Possible", "Min", "5 %", "25 %", "Median", "75 %", "95 %", "Max",
         f"Users in groups below {content.n_min}"),
        [
            (
                str(one.depth),
                f"{one.groups:,}",
                f"{one.possible:,}",
                *(f"{size:,}" for size in one.quantiles),
                percent(one.below_n_min),
            )
            for one in content.occupancies
        ],
    )  # fmt: skip
    return (
        f"<p>A group needs {content.n_min} members to lend a prior; users of smaller ones read that"
        " of a shorter prefix.</p>" + _beside(plot, figures)
    )


def alike(content: Content) -> str:
    """Attribute consistency and concentration of purchases, beside permuted groups."""
    served = content.alike[-1]
    plot = bars(
        "Attribute consistency, for the prefix whose prior a user reads",
        ("groups", "permuted"),
        [Row(name, (real, control)) for name, real, control in served.attributes],
        1.0,
        "%",
    )
    concentration = bars(
        "Purchases in the group's 50 most bought categories",
        ("groups", "permuted"),
        [Row(one.label, (one.concentration, one.concentration_permuted)) for one in content.alike],
        1.0,
        "%",
    )
    attributes = table(
        "Attribute consistency: users who have their group's most frequent value, of those whose"
        " value is known",
        ("Groups", *(name for name, _, _ in served.attributes), "Mean"),
        [
            row
            for one in content.alike
            for row in (
                (one.label, *(percent(real) for _, real, _ in one.attributes),
                 percent(one.consistency)),
                (f"{one.label}, permuted", *(percent(control) for _, _, control in one.attributes),
                 percent(one.consistency_permuted)),
            )
        ],
    )  # fmt: skip
    purchases = table(
        "Purchases in the group's 50 most bought categories",
        ("Groups", "Share", "Permuted"),
        [
            (one.label, percent(one.concentration), percent(one.concentration_permuted))
            for one in content.alike
        ],
    )
    return (
        "<p>Small groups are alike by chance: a group of one agrees with itself. So the deeper the"
        " groups, the higher the permuted figure, and only the difference counts.</p>"
        "<h3>Attributes</h3>" + _beside(plot, attributes)
        + "<h3>Purchases</h3>" + _beside(concentration, purchases)
    )  # fmt: skip


def stability(content: Content) -> str:
    """Agreement with other seeds, other cuts and the earlier run."""
    depths = range(len(content.levels))
    plot = bars(
        "Adjusted Rand index",
        [f"depth {depth + 1}" for depth in depths],
        [
            Row(one.label, tuple(m.adjusted_rand_index for m in one.comparison.maps))
            for one in content.stabilities
        ],
        1.0,
        "",
    )
    figures = table(
        "Agreement with the reported groups",
        (
            "Compared with",
            "Users in both",
            *(f"Rand index, depth {depth + 1}" for depth in depths),
            *(f"Moved, depth {depth + 1}" for depth in depths),
        ),
        [
            (
                one.label,
                f"{one.comparison.maps[0].users:,}",
                *(number(m.adjusted_rand_index) for m in one.comparison.maps),
                *(percent(m.moved) for m in one.comparison.maps),
            )
            for one in content.stabilities
        ],
    )
    return f"<p>{_SEED_NOTE}</p>{_beside(plot, figures)}{''.join(_maps(content))}"


def _maps(content: Content) -> Iterable[str]:
    for one in content.stabilities:
        if one.label.startswith("seed"):
            continue
        first = one.comparison.maps[0]
        rows = [
            (_prefix(move.group), f"{move.users:,}", _prefix(move.successor), percent(move.stayed))
            for move in first.groups
        ]
        caption = f"Level-1 groups of {one.label}, and where their users are in the reported groups"
        yield (
            f"<details><summary>{escape(caption)}</summary>"
            + table(caption, ("Group", "Users", "Most of them in", "Share of them"), rows)
            + f"<p>{one.comparison.left:,} users lost their group, {one.comparison.joined:,} have"
            " one that had none.</p></details>"
        )


def drift(content: Content) -> str:
    """How the users of both cuts lie to the codebooks, and whether to fit again."""
    blocks = []
    for one in content.drifts:
        tenths = [f"{tenth / 10:.1f}" for tenth in range(10)]
        plot = columns(
            f"Confidence of the users of {one.label}",
            tenths,
            one.confidence,
            f"users by confidence, {one.label}",
        )
        ratios = ", ".join(
            "not defined" if ratio is None else f"{ratio:.3f}" for ratio in one.drift.median_ratio
        )
        figures = table(
            f"Residuals of the users of {one.label}",
            ("Figure", "Here", "As fitted"),
            [
                ("Users with a group", f"{one.drift.users:,}", ""),
                ("Median residual over the fitted cut's, by level", ratios, "1"),
                ("Beyond the 95th percentile", percent(one.drift.far_share), "5.0 %"),
                ("Mean confidence", f"{one.drift.mean_confidence:.2f}", "0.50"),
                ("Fit again", "yes" if one.drift.refit else "no", "from 10 % beyond"),
            ],
        )
        blocks.append(f"<h3>{escape(one.label)}</h3>{_beside(plot, figures)}")
    return (
        "<p>A user's confidence is the share of the users at the fitted cut who lay at least as"
        " far from their centroids. Unchanged users fill all tenths alike; users that the codebooks"
        " no longer fit gather at 0.</p>" + "".join(blocks)
    )


def _prefix(group: Sequence[int]) -> str:
    return ".".join(map(str, group))
