"""Fixtures of several rooms: compiled kernels, and tiny bundles with random weights."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("heed", deadline=None)  # a busy machine is no fault
settings.load_profile("heed")


@pytest.fixture(scope="session")
def compiled() -> None:
    """The kernels, compiled."""
    from models import native  # they are optional
    from models.native.build import build

    if native.library() is None:
        if shutil.which(os.environ.get("CC", "cc").split()[0]) is None:
            pytest.skip("needs a C compiler to build the kernels")
        build()
        native.load.cache_clear()
        assert native.library() is not None


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two bundles: `default` of two labels, and `stars` of three with another mechanism."""
    from tests.tiny_bundle import build_tiny_bundle  # imports Keras, which the kernels' tests do without

    directory = tmp_path_factory.mktemp("models")
    build_tiny_bundle(directory, seed=1)
    build_tiny_bundle(directory, name="stars", mechanism="seq_multiplicative", labels=("bad", "fair", "good"), seed=2)
    return directory
