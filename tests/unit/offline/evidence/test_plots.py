"""Plots: they draw what they are given, and say what they cannot draw."""

import math
import re

from offline.evidence.plots import Series, Whisker, forest, lines
from offline.evidence.statistics import Interval


def interval(value: float, half: float = 0.01) -> Interval:
    """An interval of a given half width; NaN leaves it undefined."""
    return Interval(value, value - half, value + half, 0.5, half / 2, math.inf, half)


def test_a_forest_puts_dots_where_the_values_are() -> None:
    """Equal gains and losses lie equally far from the line of 0; names are escaped."""
    drawn = forest("<t>", [Whisker("<a>", interval(0.02)), Whisker("b", interval(-0.02), 0.01)])
    zero = float(re.findall(r'axis" d="M([\d.]+)', drawn)[0])
    right, left = (float(x) for x in re.findall(r'cx="([\d.]+)"', drawn))
    assert math.isclose(right - zero, zero - left, abs_tol=0.15)
    assert "<a>" not in drawn
    assert 'class="paper"' in drawn


def test_an_undefined_interval_draws_its_dot_alone() -> None:
    """A figure without an interval has no whisker."""
    drawn = forest("t", [Whisker("a", interval(0.02, math.nan)), Whisker("b", interval(0.02))])
    assert drawn.count("whisker") == 1
    assert drawn.count("<circle") == 2


def test_one_far_value_does_not_squeeze_the_others() -> None:
    """What lies far beyond the rest is told in words and leaves the scale to the rest."""
    near = [Whisker(str(n), interval(0.01 + 0.001 * n, 0.002)) for n in range(4)]
    drawn = forest("t", [*near, Whisker("far", interval(0.5))])
    assert "+50.00 %, off the scale" in drawn
    assert drawn.count("<circle") == 4
    spread = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawn)]
    assert max(spread) - min(spread) > 15


def test_lines_draw_a_point_per_place_and_series() -> None:
    """Every series has its line, its dots and its bars."""
    drawn = lines(
        "t",
        ["one", "two"],
        [Series("a", (interval(0.1), interval(0.2))), Series("b", (interval(-0.1), interval(0.0)))],
    )
    assert drawn.count('class="line s0"') == 3
    assert drawn.count('<circle class="s1"') == 3
    alone = lines("t", ["one"], [Series("a", (interval(0.1, math.nan),))])
    assert alone.count("<path") == 1
