"""What tests in several rooms share: real bundles, tiny and untrained."""

from pathlib import Path

import pytest

from tests.tiny_bundle import build_tiny_bundle


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two bundles: `default` of two labels, and `stars` of three with another mechanism."""
    directory = tmp_path_factory.mktemp("models")
    build_tiny_bundle(directory, seed=1)
    build_tiny_bundle(directory, name="stars", mechanism="seq_multiplicative", labels=("bad", "fair", "good"), seed=2)
    return directory
