"""Windows: what canary and champion answered lately, summed over all workers of all replicas."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model.reference import LEVELS, ReferenceSketch
from service.control.guards import (
    Alarm,
    Limits,
    judge_alpha,
    judge_drift,
    judge_errors,
    judge_latency,
)
from service.lifecycle.states import ReplicaState, RoleCounts

PATIENCE = 20
"""Windows after which alpha_fusion is judged by the levels that have answers enough by then."""

_Worker = tuple[str, int]
"""Replica and number."""
_NOTHING = RoleCounts()


@dataclass(frozen=True)
class Pair:
    """The two targets that are compared, as ``version/generation``."""

    canary: str
    champion: str


@dataclass(frozen=True)
class References:
    """Their bundles' sketches; None where one cannot be read."""

    canary: ReferenceSketch | None
    champion: ReferenceSketch | None


@dataclass
class _Sides:
    """Counts of both since some moment."""

    canary: RoleCounts = _NOTHING
    champion: RoleCounts = _NOTHING

    def add(self, other: "_Sides") -> None:
        """Count what another has counted, too."""
        self.canary = added(self.canary, other.canary)
        self.champion = added(self.champion, other.champion)

    def answers(self, level: int) -> int:
        """Answers of a level on the side that has fewer."""
        return min(_answers(self.canary, level), _answers(self.champion, level))


class Windows:
    """Windows of one pair, one after the other."""

    def __init__(self, pair: Pair, limits: Limits, window_s: float, now_s: float) -> None:
        """Begin with empty ones.

        Args:
            pair: what is compared.
            limits: from where on something is a fault.
            window_s: a window lasts so long at least, and until both hold enough calls.
            now_s: the present moment, on any clock that only grows.
        """
        self.pair = pair
        self.judged = 0
        """Windows so far."""
        self._limits = limits
        self._window_s = window_s
        self._due_s = now_s + window_s
        self._seen: dict[_Worker, tuple[int, Mapping[str, RoleCounts]]] = {}
        self._calls = _Sides()
        self._levels = {level: _Sides() for level in range(1, LEVELS + 1)}
        self._alpha = _Sides()
        self._alpha_windows = 0

    def look(
        self, replicas: Iterable[ReplicaState], references: References, now_s: float
    ) -> Sequence[Alarm] | None:
        """Take in the reports, and judge where a window has ended.

        Args:
            replicas: all of them.
            references: to lay scores and alpha_fusion beside.
            now_s: the present moment.

        Returns:
            What is wrong, empty: nothing; None: the window goes on.
        """
        fresh = self._fresh(replicas)
        for sides in (self._calls, self._alpha, *self._levels.values()):
            sides.add(fresh)
        if now_s < self._due_s or self._calls.canary.requests < self._limits.calls:
            return None
        self._due_s = now_s + self._window_s
        if self._calls.champion.requests < self._limits.calls:
            # The canary answers most users. A p99 cannot be told from few calls; failures can, and
            # so many people must not wait for the champion's calls.
            alarm = judge_errors(self._calls.canary, self._calls.champion, self._limits)
            return None if alarm is None else [alarm]
        self.judged += 1
        return self._judge(references)

    def told(self) -> dict[str, object]:
        """How far the present window is, for people."""
        return {
            "canary": self.pair.canary,
            "champion": self.pair.champion,
            "windows": self.judged,
            "calls": {
                "canary": self._calls.canary.requests,
                "champion": self._calls.champion.requests,
                "least": self._limits.calls,
            },
        }

    def _fresh(self, replicas: Iterable[ReplicaState]) -> _Sides:
        """What has been answered since the last look.

        A process that was not seen before gives its starting point: what it counted until then may
        be of another time.
        """
        fresh = _Sides()
        for replica in replicas:
            for worker in replica.workers:
                name = (replica.replica, worker.worker)
                pid, before = self._seen.get(name, (None, {}))
                if pid == worker.pid:
                    fresh.add(self._since(before, worker.counts))
                self._seen[name] = worker.pid, worker.counts
        return fresh

    def _since(self, before: Mapping[str, RoleCounts], counts: Mapping[str, RoleCounts]) -> _Sides:
        canary, champion = self.pair.canary, self.pair.champion
        return _Sides(
            since(before.get(canary, _NOTHING), counts.get(canary, _NOTHING)),
            since(before.get(champion, _NOTHING), counts.get(champion, _NOTHING)),
        )

    def _judge(self, references: References) -> Sequence[Alarm]:
        calls, self._calls = self._calls, _Sides()
        found = [
            judge_errors(calls.canary, calls.champion, self._limits),
            # A canary begins with empty caches; its first window says nothing of its speed.
            judge_latency(calls.canary, calls.champion, self._limits) if self.judged > 1 else None,
            *self._drifts(references),
            self._judge_alpha(references),
        ]
        return [alarm for alarm in found if alarm is not None]

    def _drifts(self, references: References) -> Iterable[Alarm | None]:
        if references.canary is None or references.champion is None:
            return
        for level, sides in self._levels.items():
            if sides.answers(level) >= self._limits.answers:
                self._levels[level] = _Sides()
                canary = (sides.canary, references.canary)
                champion = (sides.champion, references.champion)
                yield judge_drift(level, canary, champion, self._limits)

    def _judge_alpha(self, references: References) -> Alarm | None:
        self._alpha_windows += 1
        ends = min(self._alpha.answers(1), self._alpha.answers(LEVELS))
        if ends < self._limits.answers and self._alpha_windows < PATIENCE:
            return None
        sides, self._alpha, self._alpha_windows = self._alpha, _Sides(), 0
        if references.canary is None:
            return None
        return judge_alpha(sides.canary, sides.champion, references.canary, self._limits)


def added(one: RoleCounts, other: RoleCounts) -> RoleCounts:
    """Both together."""
    return _combined(one, other, 1)


def since(before: RoleCounts, after: RoleCounts) -> RoleCounts:
    """What came between two looks; nothing where counting began anew."""
    if after.requests < before.requests:
        return _NOTHING
    return _combined(after, before, -1)


def _combined(one: RoleCounts, other: RoleCounts, sign: int) -> RoleCounts:
    levels = one.score.keys() | other.score.keys()
    alphas = one.alpha.keys() | other.alpha.keys()
    return RoleCounts(
        requests=one.requests + sign * other.requests,
        errors=one.errors + sign * other.errors,
        latency=_columns(one.latency, other.latency, sign),
        score={n: _columns(one.score.get(n, ()), other.score.get(n, ()), sign) for n in levels},
        alpha={n: _alpha(one.alpha.get(n), other.alpha.get(n), sign) for n in alphas},
        alpha_squares={
            n: one.alpha_squares.get(n, 0.0) + sign * other.alpha_squares.get(n, 0.0)
            for n in alphas
        },
    )


def _columns(one: Sequence[int], other: Sequence[int], sign: int) -> tuple[int, ...]:
    """Column by column; an absent side counts nothing."""
    if not one or not other:
        return tuple(one) or tuple(sign * count for count in other)
    return tuple(a + sign * b for a, b in zip(one, other, strict=True))


def _alpha(
    one: tuple[int, float] | None, other: tuple[int, float] | None, sign: int
) -> tuple[int, float]:
    (number, total), (others, others_total) = one or (0, 0.0), other or (0, 0.0)
    return number + sign * others, total + sign * others_total


def _answers(counts: RoleCounts, level: int) -> int:
    return counts.alpha.get(str(level), (0, 0.0))[0]
