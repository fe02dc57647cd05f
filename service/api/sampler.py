"""The sampler: hands a sample of the answered requests to the comparisons, after the answer."""

import random
from collections.abc import Sequence
from pathlib import Path

from model.desired import Desired
from service.api.scoring import Exchange
from service.api.wire import Call
from service.comparison.samples import Sample, SampleSender
from service.metrics import Metrics


class Sampler:
    """A watcher of the scoring route; without a canary or shadow it does nothing."""

    def __init__(self, folder: Path, canary_sample: float, metrics: Metrics) -> None:
        """Open its socket.

        Args:
            folder: where comparisons listen.
            canary_sample: of requests, compared while there is a canary.
            metrics: counts what was sent and dropped.
        """
        self._sender = SampleSender(folder)
        self._canary_sample = canary_sample
        self._metrics = metrics
        self._draw = random.Random()  # noqa: S311 - which requests are compared is no secret
        self._samples: Sequence[tuple[str, float]] = ()

    def follow(self, desired: Desired) -> None:
        """Sample as a desired state says, from the next request on."""
        samples = []
        if desired.canary is not None:
            samples.append(("canary", self._canary_sample))
        if desired.shadow is not None:
            samples.append(("shadow", desired.shadow.sample))
        self._samples = samples

    def __call__(self, exchange: Exchange) -> None:
        """As ``Watcher``: each call of a batch is drawn for itself."""
        for comparison, share in self._samples:
            for call in exchange.calls:
                if self._draw.random() < share:
                    self._send(call, comparison)

    def close(self) -> None:
        """Close its socket."""
        self._sender.close()

    def _send(self, call: Call, comparison: str) -> None:
        sample = Sample(
            user_id=call.user_id,
            item_ids=call.item_ids,
            time_s=call.moment.time_s,
            hour=call.moment.hour,
            weekday=call.moment.weekday,
            attributes=call.attributes,
            request_id=call.request_id,
        )
        sent = self._sender.send(sample, comparison)
        self._metrics.samples.labels(comparison, "sent" if sent else "dropped").inc()
