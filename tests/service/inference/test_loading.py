"""Which engine a bundle gets, and what is said where it is not installed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import service.inference.loading
from models.native import use
from service.inference.keras_engine import KerasEngine
from service.inference.loading import EngineMissing, open_model, prepare_process
from service.inference.onnx_engine import OnnxEngine
from service.settings import Settings
from tests.service.running import ROOT
from tests.tiny_bundle import build_tiny_bundle


@pytest.fixture(autouse=True)
def kernels_as_before() -> Iterator[None]:
    yield
    use(True)


def test_kernels_come_first_where_they_know_the_model(native_folder: Path) -> None:
    from service.inference.native_engine import NativeEngine

    _, engine = open_model(native_folder, Settings())
    assert isinstance(engine, NativeEngine)
    bundle, engine = open_model(native_folder, Settings(native=False))
    assert isinstance(engine, KerasEngine)
    assert bundle.card.name == "recurrent"


def test_kernels_leave_a_gpu_to_keras(native_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.inference.keras_engine.computes_on_cpu", lambda: False)
    assert isinstance(open_model(native_folder, Settings())[1], KerasEngine)


def test_another_model_gets_the_engine_that_is_set(tmp_path: Path) -> None:
    folder = build_tiny_bundle(tmp_path, mechanism="dot_product", onnx=True)
    for name, kind in (("keras", KerasEngine), ("onnx", OnnxEngine)):
        _, engine = open_model(folder, Settings(engine=name))  # type: ignore[arg-type]
        assert isinstance(engine, kind)


WITHOUT_KERNELS = """
import sys
from pathlib import Path
sys.modules["service.inference.native_engine"] = None  # as if it were deleted
from service.inference.loading import open_model
from service.settings import Settings
print(type(open_model(Path(sys.argv[1]), Settings())[1]).__name__)
"""


def test_without_the_adapter_of_the_kernels_there_is_keras(native_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERNELS, native_folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["KerasEngine"], done.stderr


def test_an_engine_that_is_not_installed_says_what_to_do(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = service.inference.loading.find_spec
    for engine, package, message in (
        ("onnx", "onnxruntime", r"'onnxruntime', which .* pip install 'heed\[onnx\]'; or set HEED_ENGINE=keras"),
        ("keras", "keras", r"'keras', which is not installed.* pip install 'heed\[cpu\]'; or set HEED_ENGINE=onnx"),
    ):
        monkeypatch.setattr(
            service.inference.loading, "find_spec", lambda name, gone=package: None if name == gone else real(name)
        )
        with pytest.raises(EngineMissing, match=message):
            prepare_process(Settings(engine=engine))  # type: ignore[arg-type]
        with pytest.raises(EngineMissing, match=message):
            open_model(models_dir / "default", Settings(engine=engine))  # type: ignore[arg-type]
