"""The frozen constants of the simulator, and their digest."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256


@dataclass(frozen=True)
class Constants:
    """Every number that the simulated behaviour depends on; none is an option.

    Deviations are of standard normals; weights multiply terms of variance about one.
    """

    # Time.
    history_days: int = 365
    count_days: int = 30
    """Days before day 0 of which clicks count only as activity."""
    days: int = 14
    block_users: int = 2048
    """Users that share one random stream."""
    wake_s: int = 7 * 3600
    """Sessions start from here, in seconds after midnight ..."""
    awake_s: int = 15 * 3600 + 1800
    """... within so many seconds."""
    evening: float = 0.7
    """Below 1: more sessions late than early."""
    step_s: int = 40
    """Mean seconds between the clicks of a session."""
    session_s: int = 3600
    """A session's last click is no later than so many seconds after its start."""
    delay_s: tuple[int, int] = (60, 1200)
    """Least seconds from a click to its purchase, and one above the most; together with the
    latest session they end before midnight."""

    # Categories.
    leaf_weight: float = 0.7
    """Deviation of a leaf's log popularity."""
    factors: int = 6
    factor_l1: float = 0.8
    factor_leaf: float = 0.6
    season: float = 0.4

    # Archetypes: life stages x tastes x philosophies.
    stages: int = 8
    tastes: int = 4
    philosophies: int = 4
    themes: int = 10
    concentrations: tuple[float, float, float] = (6.0, 5.0, 4.0)
    stage_favoured: int = 3
    """First-level categories that a life stage favours."""
    taste_favoured: int = 2
    """First-level categories that a theme is about."""
    stage_l1: float = 0.4
    stage_favour: float = 1.5
    taste_l1: float = 0.3
    taste_favour: float = 1.3
    taste_leaf: float = 0.8
    own_leaf: float = 0.3
    leaf_scale: float = 0.75
    """Of category utility, where archetypes choose leaves."""
    price_targets: tuple[float, ...] = (1.2, 2.4, 3.6, 4.7)
    price_noise: float = 0.25
    brand_rank: int = 4

    # Items.
    brands_per_l1: int = 15
    brand_skew: float = 0.8
    """Exponent of a brand's share of the items by its rank."""
    tier_shares: tuple[float, ...] = (0.2, 0.6, 0.2)
    """Of items one tier below, at, and one tier above their brand's."""
    popularity_shift: float = 3.0
    popularity_skew: float = 0.9
    quality: float = 0.85
    quality_popularity: float = 0.35
    quality_noise: float = 0.94
    rating_noise: float = 0.4
    items_per_user: float = 1 / 3
    fewest_items: int = 3200
    most_items: int = 200_000

    # Users.
    activity_correlation: float = 0.93
    mean_clicks: float = 36.0
    top_users: float = 0.18
    top_clicks: float = 0.90
    clicks_per_day_cap: float = 60.0
    session_clicks: float = 3.0
    """Mean length of a session: one click and a geometric number of further ones."""
    purchase_deviation: float = 1.6
    mean_purchases: float = 9.0
    purchase_cap: float = 250.0
    price_taste: float = 0.6
    personal: float = 0.7
    """Weight of individual taste beside the archetype's."""
    attribute_noise: float = 0.15
    presence_bias: float = 0.6
    presence_slope: float = 3.2
    bias_slope: float = -0.25
    bias_reference: float = 2.2
    """Deviation of log activity at which the slope is as it stands."""
    bias_floor: float = 0.05
    bias_noise: float = 0.6

    # Behaviour.
    own_share: float = 0.67
    explore_share: float = 0.25
    leaf_draws: int = 6
    stay_in_leaf: float = 0.5
    item_draws: int = 2
    item_scale: float = 0.8
    purchase_draws: int = 4
    match: float = 1.5
    match_category: float = 0.85
    match_price: float = 0.6
    price_best: float = 1.1
    price_curve: float = 0.5
    price_deviation: float = 1.2
    match_style: float = 0.4
    match_brand: float = 0.15
    hour: float = 0.15
    weekend: float = 0.1
    logit_noise: float = 0.3
    conversion: float = 0.035
    calibration_blocks: int = 12
    """Of users, on whose clicks the conversion is brought about."""
    query_base: float = 0.8
    query_slope: float = 1.6
    query_cap: int = 20
    query_price: float = 0.5
    query_style: float = 0.4

    # Evaluation.
    panel_users: int = 6000
    panel_clicks: int = 16
    low_share: float = 0.55
    low_buy_weight: int = 3
    low_purchase_weight: int = 2
    low_history_days: int = 30

    def digest(self) -> str:
        """SHA-256 of all names and values."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


CONSTANTS = Constants()
