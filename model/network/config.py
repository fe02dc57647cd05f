"""The network's sizes, and the widths of its inputs that follow from them."""

from dataclasses import dataclass

from model.spec import ACTIVITY_FEATURES, FeatureSpec


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of every model; the defaults are docs/model.md's."""

    user_dim: int = 32
    """Width of a user row."""
    item_dim: int = 32
    """Width of an item's id row, the first part of its token."""
    category_dim: int = 16
    """Width of one category level's row in an item token."""
    side_dim: int = 16
    """Width of one side field's row in an item token."""
    attribute_dim: int = 16
    """Width of one user attribute's row."""
    context_dim: int = 16
    """Width of one context field's row."""
    group_code_dim: int = 32
    """Width of one level's group code row (d_e of eq. 4)."""
    tower: tuple[int, ...] = (256, 128, 64)
    """Hidden widths of both channels' towers: the first is "mid", the second "post" (eq. 6)."""
    attention: tuple[int, int] = (64, 32)
    """Hidden widths of the attention unit."""
    injection_hidden: int = 64
    """Hidden width of the injection (eq. 6)."""
    reliability: tuple[int, int] = (32, 16)
    """Hidden widths of the reliability network."""

    def __post_init__(self) -> None:
        if len(self.tower) < 2:
            raise ValueError(
                f"tower {self.tower}: expected at least two hidden layers, because the injection "
                "reads the first and adds to the second"
            )

    @classmethod
    def spec(cls) -> "NetworkConfig":
        """The sizes of docs/model.md."""
        return cls()

    @classmethod
    def demo(cls) -> "NetworkConfig":
        """About half of every width: for small data and short demonstrations."""
        return cls(
            user_dim=16,
            item_dim=16,
            category_dim=8,
            side_dim=8,
            attribute_dim=8,
            context_dim=8,
            group_code_dim=16,
            tower=(128, 64, 32),
            attention=(32, 16),
        )


@dataclass(frozen=True)
class Widths:
    """Widths of the graphs' inputs, in numbers of float32 columns."""

    fields: tuple[int, ...]
    """Widths of an item token's fields: id, category levels, side fields."""
    attributes: int
    """A: attribute rows, then two columns per continuous field."""
    user: int
    """U: user row, attributes, context."""
    group_code: int
    """d_e."""
    levels: int
    """M."""
    activity: int
    """Inputs of the reliability network."""

    @property
    def token(self) -> int:
        """D: an item token, a sequence row."""
        return sum(self.fields)


def widths(spec: FeatureSpec, config: NetworkConfig) -> Widths:
    """Widths that follow from the fields of a feature spec.

    Args:
        spec: the feature spec.
        config: the network's sizes.

    Returns:
        The widths of a token's fields, A, U, d_e, M and that of the activity vector.
    """
    attributes = len(spec.attributes) * config.attribute_dim + 2 * len(spec.continuous)
    return Widths(
        fields=(
            config.item_dim,
            *[config.category_dim] * len(spec.categories),
            *[config.side_dim] * len(spec.side),
        ),
        attributes=attributes,
        user=config.user_dim + attributes + len(spec.context) * config.context_dim,
        group_code=config.group_code_dim,
        levels=spec.levels,
        activity=len(ACTIVITY_FEATURES),
    )
