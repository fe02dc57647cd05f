"""The scorer: from candidates and evidence to columns of logits and scores, for one bundle."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.assembly import unknown_user, user_arrays
from model.bundle import Bundle
from model.fusion import fuse
from model.records import ItemRecord, UserRecord
from model.spec import FIRST_CODE, OOV, item_key
from model.tables import Inputs
from service.inference.backend import Session

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_REMEMBERED_ITEMS = 1_000_000
"""Item ids whose catalogue row is remembered, so that they need no hashing."""


class NonFinite(ArithmeticError):
    """The graphs gave NaN or infinity."""


@dataclass(frozen=True)
class Moment:
    """When a request is answered for."""

    time_s: int
    """Seconds since the epoch: ages count from here."""
    hour: int
    """0..23."""
    weekday: int
    """0..6, Monday = 0."""


@dataclass(frozen=True, eq=False)
class Resolved:
    """Candidates as catalogue rows."""

    item_ids: Sequence[str]
    rows: Ids
    """int64 ``[C]``; OOV outside the catalogue."""
    outside: Sequence[str]
    """The distinct ids outside the catalogue."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates as the graphs take them."""

    tokens: Floats
    """float32 ``[C, D]``."""
    statuses: Sequence[str]
    """Per candidate known, new (scored by its own record) or unknown."""
    counts: Mapping[str, int]
    """Of each status that there is."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Columns of one answer, each float32 ``[C]``."""

    individual_logits: Floats
    group_logits: Floats
    fused_logits: Floats
    scores: Floats
    alpha_fusion: float


class Scorer:
    """Scores candidates with one bundle; holds no state of any request."""

    def __init__(self, bundle: Bundle, session: Session, chunk: int) -> None:
        """Make a scorer.

        Args:
            bundle: the opened bundle.
            session: its graphs.
            chunk: candidates of one graph run, about.
        """
        self._bundle = bundle
        self._session = session
        self._chunk = chunk
        self._rows: dict[str, int] = {}

    def resolve(self, item_ids: Sequence[str]) -> Resolved:
        """Find candidates in the catalogue; duplicates and order stay as they are.

        Args:
            item_ids: C ids.

        Returns:
            Their catalogue rows, and which of them are outside.
        """
        known = self._rows
        try:
            rows = np.fromiter(map(known.__getitem__, item_ids), np.int64, len(item_ids))
        except KeyError:
            self._look_up(set(item_ids))
            rows = np.array([known.get(item_id, OOV) for item_id in item_ids], np.int64)
            outside = (item_id for item_id in item_ids if item_id not in known)
            return Resolved(item_ids, rows, tuple(dict.fromkeys(outside)))
        return Resolved(item_ids, rows, ())

    def candidates(self, resolved: Resolved, new_items: Mapping[str, ItemRecord]) -> Candidates:
        """Embed candidates.

        Args:
            resolved: what ``resolve`` gave.
            new_items: records of items outside the catalogue, by id.

        Returns:
            Their tokens and statuses, in the order of the request.
        """
        tokens_CD = self._bundle.tables.item_tokens[resolved.rows]
        if not resolved.outside:
            count = len(resolved.item_ids)
            return Candidates(tokens_CD, ["known"] * count, {"known": count})
        statuses = ["unknown" if row == OOV else "known" for row in resolved.rows.tolist()]
        for place, item_id in enumerate(resolved.item_ids):
            if item_id in new_items and resolved.rows[place] == OOV:
                codes = new_items[item_id].codes
                tokens_CD[place] = self._bundle.tables.new_item_token(codes)
                statuses[place] = "new"
        return Candidates(tokens_CD, statuses, Counter(statuses))

    def user_side(
        self, user: UserRecord | None, moment: Moment, user_row: int | None = None
    ) -> tuple[Inputs, Floats]:
        """Embed the user side of one request.

        Args:
            user: the user's record; None for a user who is not known.
            moment: when the request is answered for.
            user_row: of the user table; None: as the record's user id says.

        Returns:
            The individual channel's inputs but for the candidates (R = 1), and the reliability
            network's, float32 ``[1, 5]``.
        """
        spec = self._bundle.spec
        record = unknown_user(spec, moment.time_s) if user is None else user
        context = np.array([[moment.hour + FIRST_CODE, moment.weekday + FIRST_CODE]], np.int64)
        arrays = user_arrays(spec, self._bundle.catalogue, [record], [moment.time_s], context)
        if user_row is not None:
            arrays = replace(arrays, user_row=np.array([user_row], np.int64))
        return self._bundle.tables.user_inputs(arrays), arrays.activity

    def group_id(self, user: UserRecord) -> list[int]:
        """The user's group id, one code per level; empty when the user has no group."""
        codes: list[int] = user.group_id.tolist()
        return [] if codes and codes[0] == self._bundle.spec.codes_per_level else codes

    def score(
        self, user_inputs: Inputs, activity_15: Floats, prior_inputs: Inputs, tokens_CD: Floats
    ) -> Scores:
        """Run the graphs and fuse the channels (eq. 10).

        Args:
            user_inputs: the user side, R = 1.
            activity_15: float32 ``[1, 5]``.
            prior_inputs: the group side, R = 1.
            tokens_CD: float32 ``[C, D]``, C >= 1.

        Returns:
            The columns of the answer; the split into chunks does not show in them.

        Raises:
            NonFinite: when a logit or alpha_fusion is NaN or infinite.
        """
        alpha_11 = self._session.reliability(activity_15)
        pairs = [self._run(user_inputs, prior_inputs, chunk) for chunk in self._chunks(tokens_CD)]
        individual_1C = _joined([pair[0] for pair in pairs])
        group_1C = _joined([pair[1] for pair in pairs])
        fused = fuse(individual_1C, group_1C, alpha_11)
        # A non-finite channel or alpha shows in the fused logit: 0 * inf and 0 * NaN are NaN.
        if not np.isfinite(fused.fused_logit).all():
            raise NonFinite("the graphs gave a logit or an alpha_fusion that is not finite")
        return Scores(
            individual_logits=individual_1C[0],
            group_logits=group_1C[0],
            fused_logits=fused.fused_logit[0],
            scores=fused.score[0],
            alpha_fusion=float(alpha_11[0, 0]),
        )

    def _chunks(self, tokens_CD: Floats) -> list[Floats]:
        """Parts of nearly equal size, float32 ``[1, c, D]``."""
        count = len(tokens_CD)
        parts = -(-count // self._chunk)
        ends = [count * part // parts for part in range(parts + 1)]
        return [tokens_CD[np.newaxis, begin:end] for begin, end in pairwise(ends)]

    def _run(
        self, user_inputs: Inputs, prior_inputs: Inputs, candidates: Floats
    ) -> tuple[Floats, Floats]:
        """``individual_logit`` and ``group_logit`` of one chunk, float32 ``[1, C]``."""
        group_logit, injection = self._session.group_channel(
            {**prior_inputs, "candidates": candidates}
        )
        individual_logit = self._session.individual_channel(
            {**user_inputs, "candidates": candidates, "group_injection": injection}
        )
        return individual_logit, group_logit

    def _look_up(self, item_ids: set[str]) -> None:
        """Remember the rows of items of the catalogue; others are never kept."""
        ids = [item_id for item_id in item_ids if item_id not in self._rows]
        if len(self._rows) + len(ids) > _REMEMBERED_ITEMS:
            self._rows.clear()
            ids = list(item_ids)
        keys = np.array([item_key(item_id) for item_id in ids], np.uint64)
        rows = self._bundle.catalogue.rows(keys).tolist()
        self._rows.update((i, row) for i, row in zip(ids, rows, strict=True) if row != OOV)


def _joined(parts_1c: list[Floats]) -> Floats:
    """float32 ``[1, C]``."""
    return parts_1c[0] if len(parts_1c) == 1 else np.concatenate(parts_1c, axis=1)
