"""What tests in several rooms share: real bundles, tiny and untrained."""

import os
import shutil
from pathlib import Path

import pytest

from models import native
from models.native.build import build
from tests.tiny_bundle import build_tiny_bundle


@pytest.fixture(scope="session")
def compiled() -> None:
    """What is written in C, compiled."""
    if native.library() is None:
        if shutil.which(os.environ.get("CC", "cc").split()[0]) is None:
            pytest.skip("there is no C compiler here, so the service runs in Python alone")
        build()
        native._load.cache_clear()
        assert native.library() is not None


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two bundles: `default` of two labels, and `stars` of three with another mechanism."""
    directory = tmp_path_factory.mktemp("models")
    build_tiny_bundle(directory, seed=1)
    build_tiny_bundle(directory, name="stars", mechanism="seq_multiplicative", labels=("bad", "fair", "good"), seed=2)
    return directory
