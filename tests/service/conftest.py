"""The service as tests meet it: in this process, and as a process of its own; both on a real port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.settings import Settings
from tests.service.running import AppClient, RunningService, ready_client_of, running_service
from tests.tiny_bundle import build_tiny_bundle

SMALL = {"batch_sizes": (1, 8), "token_buckets": (16, 64), "reload_seconds": 0}
"""Few shapes: a test should not wait for what it does not look at."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def service(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service in a process of its own, shared by the tests that leave it as it is."""
    with running_service(models_dir, tmp_path_factory.mktemp("service") / "log") as running:
        yield running


@pytest.fixture(scope="session")
def settings(models_dir: Path) -> Settings:
    return Settings(models_dir=models_dir, **SMALL)


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[AppClient]:
    """An app in this process, shared by the tests that leave it as it is."""
    with ready_client_of(settings) as client:
        yield client


@pytest.fixture(scope="module")
def any_processor() -> Iterator[None]:
    """Use the kernel on processors with narrow vectors too: tests check results, not speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.inference.native_engine._LEAST_LANES", 4)
        yield


@pytest.fixture(scope="module")
def native_folder(tmp_path_factory: pytest.TempPathFactory, compiled: None, any_processor: None) -> Path:
    """A bundle of the kind that there is C for."""
    directory = tmp_path_factory.mktemp("bundles")
    return build_tiny_bundle(directory, name="recurrent", encoder="bilstm", encoder_units=16, seed=3)
