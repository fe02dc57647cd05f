"""The tabulator: turns the cells of a study into its tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from offline.evidence import paper
from offline.evidence.layout import Layout
from offline.evidence.results import LEVELS
from offline.evidence.statistics import (
    Statistic,
    combine,
    difference,
    holm,
    interval,
    relative,
    slope,
)
from offline.evidence.study import Seeds, Study
from offline.evidence.tables import (
    FIGURES,
    ITEM_SLICES,
    SEGMENTS,
    Figure,
    Gain,
    GroupFigures,
    LevelGains,
    MethodRow,
    StudyTables,
    SweepPoint,
    Trust,
)

Measure = Callable[[Sequence[str], Seeds], dict[str, Statistic]]
Pairs = Mapping[str, tuple[Statistic, Statistic]]


@dataclass(frozen=True, eq=False)
class Tabulator:
    """Makes the tables of one study."""

    study: Study
    layout: Layout
    titles: Mapping[str, str]
    """By method; a method without one goes by its name."""

    def tables(self) -> StudyTables:
        """Compute every table from what is finished; parts without cells are empty."""
        study, layout = self.study, self.layout
        return StudyTables(
            name=study.name,
            family=study.family,
            role=study.role,
            preset=study.preset,
            datasets=study.datasets,
            subject=self._title(layout.subject),
            control=layout.permuted,
            measures=self.measures(),
            methods=self._corrected(self._rows(self._first_table())),
            ablations=self._turned(dict(layout.ablations)),
            levels=self._levels(),
            codes_sweep=self._sweep(layout.codes_sweep),
            weight_sweep=self._sweep(layout.weight_sweep),
            trust=tuple(self._trust()),
            groups=tuple(self._groups()),
        )

    def measures(self) -> dict[str, tuple[str, bool]]:
        """Where the primary figure of each segment, and of levels, is taken.

        With true probabilities: low-activity users and levels on the panel where there is one, all
        users on the test rows, soft labels in both. Else outcomes of the test rows.
        """
        kinds = {(target, soft) for _, target, soft in self.study.blocks}
        fallback = max(kinds, key=lambda kind: kind[1], default=("test", False))
        panel = ("panel", True) if ("panel", True) in kinds else fallback
        overall = ("test", True) if ("test", True) in kinds else panel
        return {"low": panel, "overall": overall, "levels": panel}

    def _first_table(self) -> list[str]:
        layout, swept = self.layout, (*self.layout.codes_sweep, *self.layout.weight_sweep)
        elsewhere = {name for name, _ in layout.ablations} | {name for _, name in swept}
        known = (*layout.compared, *layout.bounds, layout.subject)
        others = sorted(set(self.study.cells) - elsewhere - set(known))
        return self._present((*known, *others))

    def _present(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name in self.study.cells]

    def _title(self, method: str) -> str:
        return self.titles.get(method, method)

    def _measures_by_name(self, everything: bool) -> dict[str, Measure]:
        """What gains are told of: the primary figure, and what stands beside it."""
        found: dict[str, Measure] = {}
        for segment in SEGMENTS:
            primary = self.measures()[segment]
            found[f"primary_{segment}"] = self._of_users(primary, segment)
            if everything:
                found[f"auc_{segment}"] = self._of_cells("auc", segment)
                found[f"unweighted_{segment}"] = self._of_users(primary, segment, weighted=False)
            if everything and primary != ("test", False):
                found[f"outcomes_{segment}"] = self._of_users(("test", False), segment)
        if everything:
            found |= {f"gauc_{part}": self._of_cells("gauc", part) for part in ITEM_SLICES}
        return found

    def _of_users(self, measure: tuple[str, bool], segment: str, weighted: bool = True) -> Measure:
        return lambda methods, seeds: self.study.users(methods, seeds, measure, segment, weighted)

    def _of_cells(self, metric: str, segment: str) -> Measure:
        return lambda methods, seeds: self.study.figures(methods, seeds, "test", segment, metric)

    def _rows(self, methods: Sequence[str]) -> list[tuple[MethodRow, dict[str, Statistic]]]:
        """Rows of Table 1, each with the statistics of its relative gains."""
        pairs = self._pairs(methods, everything=True)
        return [self._row(method, self._title(method), pairs) for method in methods]

    def _turned(self, titles: Mapping[str, str]) -> tuple[MethodRow, ...]:
        """Rows that tell a method's change against the subject."""
        methods = self._present(titles)
        pairs = {
            name: {method: (second, first) for method, (first, second) in found.items()}
            for name, found in self._pairs(methods, everything=False).items()
        }
        return tuple(self._row(method, titles[method], pairs)[0] for method in methods)

    def _pairs(self, methods: Sequence[str], everything: bool) -> Mapping[str, Pairs]:
        """By measure and method: the subject and the method, on cells that both have finished."""
        subject = self.layout.subject
        by_seeds: dict[tuple[tuple[str, tuple[int, ...]], ...], list[str]] = {}
        for method in methods:
            seeds = self.study.paired(subject, method)
            if seeds and method != subject:
                by_seeds.setdefault(tuple(seeds.items()), []).append(method)
        found: dict[str, dict[str, tuple[Statistic, Statistic]]] = {}
        for name, measure in self._measures_by_name(everything).items():
            found[name] = {}
            for of, members in by_seeds.items():
                statistics = measure([subject, *members], dict(of))
                for method in set(members) & set(statistics) if subject in statistics else ():
                    found[name][method] = (statistics[subject], statistics[method])
        return found

    def _row(
        self, method: str, title: str, pairs: Mapping[str, Pairs]
    ) -> tuple[MethodRow, dict[str, Statistic]]:
        study, subject = self.study, self.layout.subject
        seeds = study.paired(subject, method) if subject in study.cells else study.paired(method)
        mine = {name: found[method] for name, found in pairs.items() if method in found}
        ratios = {name: relative(*pair) for name, pair in mine.items()}
        gains = {
            name: Gain(
                interval(difference(*pair)), interval(ratios[name]), None, _told(method, name)
            )
            for name, pair in mine.items()
        }
        dense, tables = study.parameters[method]
        wanted = study.paired(subject) if subject in study.cells else seeds
        row = MethodRow(
            method, title, _count(seeds), _count(wanted), dense, tables,
            self._figures(method, seeds), gains,
        )  # fmt: skip
        return row, ratios

    def _figures(self, method: str, seeds: Seeds) -> dict[str, Figure]:
        if not seeds:
            return {}
        study, named = self.study, dict[str, dict[str, Statistic]]()
        for segment in SEGMENTS:
            measure = self.measures()[segment]
            found = study.users([method], seeds, measure, segment, replicates=1)
            named[f"primary_{segment}"] = found
        wanted = [*product(FIGURES, SEGMENTS), *product(("auc", "gauc"), ITEM_SLICES)]
        for metric, segment in wanted:
            found = study.figures([method], seeds, "test", segment, metric, replicates=1)
            named[f"{metric}_{segment}"] = found
        return {name: _figure(of[method], sorted(seeds)) for name, of in named.items() if of}

    def _corrected(
        self, rows: Sequence[tuple[MethodRow, Mapping[str, Statistic]]]
    ) -> tuple[MethodRow, ...]:
        """Holm over the compared rows, measure by measure."""
        corrected = [row for row, _ in rows]
        for name in sorted({name for _, ratios in rows for name in ratios}):
            family = [
                place
                for place, (row, ratios) in enumerate(rows)
                if row.method in self.layout.compared and name in ratios
            ]
            judged = holm([rows[place][1][name] for place in family])
            for place, one in zip(family, judged, strict=True):
                gains = corrected[place].gains
                gain = replace(gains[name], corrected=one)
                corrected[place] = replace(corrected[place], gains={**gains, name: gain})
        return tuple(corrected)

    def _levels(self) -> LevelGains | None:
        names = [self.layout.subject, self.layout.permuted, self.layout.base]
        seeds, measure = self.study.paired(*names), self.measures()["levels"]
        by_level = [self.study.users(names, seeds, measure, level) for level in LEVELS]
        if not all(by_level):
            return None
        real, permuted, base = ([found[name] for found in by_level] for name in names)
        pairs = ((real, base), (permuted, base), (real, permuted))
        gains = [[relative(a, b) for a, b in zip(*pair, strict=True)] for pair in pairs]
        over_base, control, net = (tuple(interval(one) for one in part) for part in gains)
        slopes = [interval(slope(part)) for part in gains]
        return LevelGains(over_base, control, net, (slopes[0], slopes[1], slopes[2]))

    def _sweep(self, points: Sequence[tuple[float, str]]) -> tuple[SweepPoint, ...]:
        values = {name: value for value, name in points}
        rows = self._turned({name: self._title(name) for name in values})
        return tuple(
            sorted((SweepPoint(values[row.method], row) for row in rows), key=lambda p: p.value)
        )

    def _trust(self) -> Iterable[Trust]:
        for method in self._by_importance():
            seeds = self.study.paired(method)
            found = [
                self.study.figures([method], seeds, "test", level, "alpha_fusion").get(method)
                for level in LEVELS
            ]
            known = [one for one in found if one is not None]
            if len(known) == len(LEVELS):
                ratio = interval(combine(lambda a, b: a / b, known[0], known[-1]))
                means = tuple(one.value for one in known)
                yield Trust(method, self._title(method), means, ratio)

    def _groups(self) -> Iterable[GroupFigures]:
        for method in self._by_importance():
            seeds = self.study.paired(method)
            alike, share = (
                self.study.figures([method], seeds, "groups", "overall", metric, 1).get(method)
                for metric in ("attribute_consistency", "top50_share")
            )
            if alike is not None and share is not None:
                yield GroupFigures(method, self._title(method), alike.value, share.value)

    def _by_importance(self) -> list[str]:
        layout = self.layout
        order = (layout.subject, layout.permuted, *layout.compared, *layout.bounds)
        return self._present(dict.fromkeys(order))


def _figure(statistic: Statistic, datasets: Sequence[str]) -> Figure:
    spreads = [float(np.std(c, ddof=1)) if len(c) > 1 else float("nan") for c in statistic.cells]
    several = [spread**2 for spread in spreads if not np.isnan(spread)]
    return Figure(
        mean=statistic.value,
        spread=float(np.sqrt(np.mean(several))) if several else float("nan"),
        by_dataset={
            dataset: (float(cell.mean()), spread)
            for dataset, cell, spread in zip(datasets, statistic.cells, spreads, strict=True)
        },
    )


def _told(method: str, name: str) -> float | None:
    """The paper's relative gain, where it tells one of that kind."""
    told = paper.gain_over(method)
    places = {"primary_low": 0, "primary_overall": 1}
    return None if told is None or name not in places else told[places[name]]


def _count(seeds: Seeds) -> int:
    return sum(len(one) for one in seeds.values())
