"""Messages between the supervisor and its processes: one JSON document per line, told by kind."""

import msgspec

from model.desired import Desired
from service.lifecycle.states import WorkerState


class Bootstrap(msgspec.Struct, frozen=True, tag_field="kind", tag="bootstrap"):
    """Serve this version by its prior snapshot until a desired state is known."""

    version: int | None
    """None: the newest one."""


class Follow(msgspec.Struct, frozen=True, tag_field="kind", tag="desired"):
    """Reconcile with this desired state."""

    document: msgspec.Raw

    @classmethod
    def of(cls, desired: Desired) -> "Follow":
        """The message that carries a document, on one line."""
        return cls(msgspec.Raw(msgspec.json.format(desired.to_json().encode(), indent=-1)))

    def desired(self) -> Desired:
        """The document.

        Raises:
            BadDesired: when it is none.
        """
        return Desired.from_json(bytes(self.document))


class AskMetrics(msgspec.Struct, frozen=True, tag_field="kind", tag="metrics"):
    """Answer with the exposition."""

    id: int


class Listen(msgspec.Struct, frozen=True, tag_field="kind", tag="listen"):
    """Open the scoring port now, to say that nothing serves yet; else it opens when ready."""


class Drain(msgspec.Struct, frozen=True, tag_field="kind", tag="drain"):
    """Say not ready, answer what comes for a while, end."""


class StateReport(msgspec.Struct, frozen=True, tag_field="kind", tag="state"):
    """What a worker holds: on every change, and once a second as a sign of life."""

    state: WorkerState


class Exposition(msgspec.Struct, frozen=True, tag_field="kind", tag="metrics"):
    """The answer to ``AskMetrics``."""

    id: int
    text: str


class Findings(msgspec.Struct, frozen=True, tag_field="kind", tag="findings"):
    """What a sibling has found so far, in words of its own, and its sign of life."""

    document: msgspec.Raw


Order = Bootstrap | Follow | AskMetrics | Listen | Drain
"""What the supervisor sends."""
Report = StateReport | Exposition | Findings
"""What its processes send."""

read_order = msgspec.json.Decoder(Order).decode
read_report = msgspec.json.Decoder(Report).decode
