"""Planted faults: workers that swap wrongly, to see that the bench notices."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from unittest.mock import patch

from service import worker
from service.lifecycle import lifecycle
from service.lifecycle.holding import Holding, Order
from service.lifecycle.served_model import ServedModel

_KEPT: list[ServedModel] = []


class Leaking(Holding):
    """Never lets go of a model."""

    def drain(self, served: ServedModel) -> None:
        """As ``Holding.drain``, but somebody still holds the model."""
        _KEPT.append(served)
        super().drain(served)


class UnloadingFirst(Holding):
    """Ends what serves, and only then loads what is to serve."""

    async def load(self, order: Order) -> None:
        """As ``Holding.load``, beside nothing."""
        for _, resident in self.residents:
            if resident.served is not None:
                resident.served.retire()
        await super().load(order)


class Mixing(Holding):
    """Lets the old model read the records of the new one's generation."""

    async def load(self, order: Order) -> None:
        """As ``Holding.load``, and whatever serves reads what was loaded."""
        await super().load(order)
        loaded = self.residents.get(order.key)
        if loaded is not None and loaded.served is not None:
            for _, resident in self.residents:
                if resident.served is not None:
                    resident.served.reader = loaded.served.reader


@dataclass(frozen=True)
class Fault:
    """One way to swap wrongly."""

    holding: type[Holding]
    shown_by: str
    """The figure that must fall short; any other may do so on a machine that is busy."""


FAULTS: Mapping[str, Fault] = {
    "leak": Fault(Leaking, "memory_growth_200"),
    "unload_before_load": Fault(UnloadingFirst, "failed"),
    "mixture": Fault(Mixing, "mixed"),
}


def main() -> int:
    """Run a worker with a fault; started by ``planted_replica`` alone."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--fault", choices=FAULTS, required=True)
    options, others = parser.parse_known_args()
    with patch.object(lifecycle, "Holding", FAULTS[options.fault].holding):
        return worker.main(others)


if __name__ == "__main__":
    sys.exit(main())
