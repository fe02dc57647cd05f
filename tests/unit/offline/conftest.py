"""One exported bundle for all tests that read one: exporting takes seconds."""

import pytest

from model.bundle import Bundle, open_bundle
from offline.export import Ingredients, export_bundle
from tests.ingredients import ingredients


@pytest.fixture(scope="session")
def made() -> Ingredients:
    """What the bundle is made of."""
    return ingredients()


@pytest.fixture(scope="session")
def bundle(made: Ingredients, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An exported bundle, verified and opened."""
    folder = tmp_path_factory.mktemp("repository") / "1"
    export_bundle(made, 1, folder)
    return open_bundle(folder)
