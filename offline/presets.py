"""Presets: sizes and training settings that belong together."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from model.network.config import NetworkConfig
from offline.training import TrainConfig


@dataclass(frozen=True)
class Preset:
    """Everything that decides a model besides its data and its seed."""

    name: str
    network: NetworkConfig
    train: TrainConfig
    history_len: int
    group_len: int
    levels: int = 3
    codes_per_level: int | None = None
    """None: the sizing rule of docs/groups.md."""
    n_min: int = 50
    one_pass_rows: int = 500_000
    """Training rows from which one epoch is enough: in a second one sparse ids overfit."""
    auxiliary: bool = True
    """True: the preset ``identified`` of the losses; False: ``literal`` (docs/model.md)."""

    @property
    def losses(self) -> str:
        """Name of the preset of the losses."""
        return "identified" if self.auxiliary else "literal"

    def described(self) -> dict[str, Any]:
        """All its values, as JSON has them."""
        return asdict(self)

    def shortened(self, mark: str = "short") -> "Preset":
        """One epoch: for a look at the whole way, not at figures."""
        return replace(self, name=f"{self.name}-{mark}", train=replace(self.train, epochs=1))


PRESETS = {
    "demo": Preset(
        name="demo",
        network=NetworkConfig.demo(),
        # One thread: at these sizes two wait for each other longer than they work.
        train=TrainConfig(epochs=3, threads=1),
        history_len=50,
        group_len=50,
    ),
    "paper": Preset(
        name="paper",
        network=NetworkConfig.demo(),
        train=TrainConfig(epochs=4, threads=1),
        history_len=50,
        group_len=50,
    ),
    "spec": Preset(
        name="spec",
        network=NetworkConfig.spec(),
        train=TrainConfig(epochs=4),
        history_len=50,
        group_len=50,
    ),
}
"""``spec`` has the sizes of docs/model.md; ``demo`` about half of every width; ``paper`` is what
the evidence is made with (docs/evidence.md)."""
