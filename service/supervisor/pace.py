"""The pace of respawning: at once after one end, ever slower while a process keeps ending."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """How long to wait before a process that ended is spawned again."""

    first_s: float = 0.1
    """After the first end; doubles with each one that follows soon."""
    most_s: float = 30.0
    steady_s: float = 60.0
    """A life of this length forgives the ends before it."""
    many: int = 5
    """So many ends in a row are a crash loop."""

    def ends(self, before: int, lived_s: float) -> int:
        """Ends in a row, with the one after a life of ``lived_s``."""
        return 1 if lived_s >= self.steady_s else before + 1

    def delay_s(self, ends: int) -> float:
        """The wait after so many ends in a row."""
        return float(min(self.most_s, self.first_s * 2.0 ** min(ends - 1, 60)))

    def looping(self, ends: int) -> bool:
        """Whether so many ends in a row are a crash loop."""
        return ends >= self.many
