"""What of an answered request is logged: enough to score it again, bit by bit."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from model.assembly import unknown_user
from model.records import UserRecord, encode_record, prefix_name
from model.served_log import pseudonym
from model.spec import OOV, FeatureSpec, user_row
from service.api.answer import Answer
from service.api.scoring import Exchange, Share
from service.api.wire import Call
from service.features.reader import Evidence
from service.feedback.build import build_name
from service.feedback.log import ServedLog
from service.feedback.part import Row


class ServedWatcher:
    """Hands the sample of the answered requests to the log, after the caller has the answer."""

    def __init__(self, log: ServedLog, chunk: int, user_key: bytes | None) -> None:
        """Make it.

        Args:
            log: takes the rows.
            chunk: candidates of one graph run, about: decides the last bits of a score.
            user_key: hides the users; None: they are named by their ids.
        """
        self._log = log
        self._chunk = chunk
        self._user_key = user_key
        self._build = build_name()

    def __call__(self, exchange: Exchange) -> None:
        """As ``service.api.scoring.Watcher``."""
        sampled = [n for n, call in enumerate(exchange.calls) if self._log.keeps(call.request_id)]
        if sampled:
            self._log.add_served(list(self._rows(exchange, sampled)))

    def _rows(self, exchange: Exchange, sampled: Sequence[int]) -> Iterator[Row]:
        shares = {place: share for share in exchange.shares for place in share.places}
        for place in sampled:
            call, answer, share = exchange.calls[place], exchange.answers[place], shares[place]
            yield {
                **self._who(call, answer.evidence, share),
                **_assignment(exchange, share),
                **_scores(answer),
                **_inputs(call, answer.evidence, hidden=self._user_key is not None),
                "chunk": self._chunk,
                "provider": share.served.loaded.provider,
                "build": self._build,
            }

    def _who(self, call: Call, evidence: Evidence, share: Share) -> Row:
        spec, key = share.served.loaded.bundle.spec, self._user_key
        return {
            "request_id": call.request_id,
            "served_s": time.time(),
            "user_id": pseudonym(call.user_id, key) if key else call.user_id,
            "user_hashed": key is not None,
            "user_row": _row_of(spec, evidence.user),
            "user_status": evidence.user_status,
            "activity_level": evidence.activity_level,
            "low_activity": _is_low(spec, evidence),
        }


def _assignment(exchange: Exchange, share: Share) -> Row:
    """Which model answered, and how probable that was for this user."""
    roles = exchange.roles
    has_canary = roles.canary is not None
    propensity = roles.share if share.role == "canary" else 1.0 - roles.share
    chosen = exchange.tester and roles.testers
    return {
        "role": share.role,
        "share": roles.share if has_canary else None,
        # A tester asked for it: no chance was involved, and no comparison may count it.
        "propensity": None if chosen else propensity,
        "experiment": roles.salt if has_canary else None,
    }


def _scores(answer: Answer) -> dict[str, Any]:
    columns = answer.columns
    names = (
        *("generation", "bundle_digest", "alpha_fusion", "degraded", "item_ids"),
        *("individual_logits", "group_logits", "fused_logits", "scores"),
    )
    return {"version": columns["model_version"], **{name: columns[name] for name in names}}


def _inputs(call: Call, evidence: Evidence, *, hidden: bool) -> Row:
    """The records as they were read, and the moment: all that decides the scores."""
    user, prior = evidence.user, evidence.prior
    wanted = set(call.item_ids)
    new_items = {i: r for i, r in evidence.new_items.items() if i in wanted}
    if user is not None and hidden:
        user = replace(user, user_id="")
    return {
        "prefix": prefix_name(prior.prefix),
        "time_s": call.moment.time_s,
        "hour": call.moment.hour,
        "weekday": call.moment.weekday,
        "user_record": None if user is None else encode_record(user),
        "group_record": encode_record(prior.record),
        "group_as_of_s": prior.as_of_s,
        "new_item_ids": list(new_items),
        "new_item_records": [encode_record(record) for record in new_items.values()],
    }


def _row_of(spec: FeatureSpec, user: UserRecord | None) -> int:
    """Of the user table; told apart from the record, whose user may be hidden."""
    return user_row(user.user_id, spec.user_rows) if user and user.user_id else OOV


def _is_low(spec: FeatureSpec, evidence: Evidence) -> bool | None:
    """Whether the user is low-activity; None when the activity could not be read."""
    if evidence.activity_level is None:
        return None
    user = evidence.user or unknown_user(spec, 0)
    return user.window_purchases <= spec.low_activity_purchases
