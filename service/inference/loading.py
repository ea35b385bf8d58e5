"""Choose and open the engine for a bundle; only that engine's packages are imported."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from models.bundle.parts import BundleParts, read_bundle_parts
from models.bundle.verification import BundleError
from service.inference.engine import Engine
from service.inference.process import tune_interpreter
from service.settings import Settings

try:
    from models.native import use as use_native
    from service.inference.native_engine import native_engine
except ImportError:  # the kernels and this adapter may be deleted

    def use_native(wanted: bool) -> None:
        """Do nothing."""

    def native_engine(bundle: BundleParts, *, buckets: Sequence[int], largest_batch: int) -> Engine | None:
        """Return None: there are no kernels."""
        return None


_NEEDS = {"keras": ("keras", "heed[cpu]"), "onnx": ("onnxruntime", "heed[onnx]")}


class EngineMissing(BundleError):
    """The engine that is set is not installed; the message says what to install."""


def prepare_process(settings: Settings) -> None:
    """Set up what holds for the whole process, before any engine is opened.

    Raises:
        EngineMissing: the engine that is set is not installed.
    """
    _check_installed(settings)
    tune_interpreter()
    if settings.engine == "keras":
        from service.inference.keras_engine import use_one_core_a_pass

        use_one_core_a_pass()


def open_model(path: Path, settings: Settings) -> tuple[BundleParts, Engine]:
    """Load the bundle in folder `path`, and open the engine that runs it, not warmed yet.

    Kernels come first, for the models that they know; else the engine that is set.

    Raises:
        BundleError: the bundle is refused, or cannot run on this engine.
        EngineMissing: the engine is not installed.
    """
    _check_installed(settings)
    use_native(settings.native)
    return _open_onnx(path, settings) if settings.engine == "onnx" else _open_keras(path, settings)


def _open_keras(path: Path, settings: Settings) -> tuple[BundleParts, Engine]:
    from models.bundle.store import load_bundle
    from service.inference.keras_engine import KerasEngine, computes_on_cpu

    bundle = load_bundle(path)
    if settings.native and computes_on_cpu() and (engine := _native_engine(bundle, settings)):
        return bundle, engine
    return bundle, KerasEngine(
        bundle,
        buckets=settings.token_buckets,
        batch_sizes=settings.batch_sizes,
        max_batch_tokens=settings.max_batch_tokens,
    )


def _open_onnx(path: Path, settings: Settings) -> tuple[BundleParts, Engine]:
    if settings.native and (engine := _native_engine(parts := read_bundle_parts(path), settings)):
        return parts, engine

    # Not before: ONNX Runtime costs time and memory that a kernel does without.
    from models.bundle.onnx.bundle import load_onnx_bundle
    from service.inference.onnx_engine import OnnxEngine

    bundle = load_onnx_bundle(path)
    return bundle, OnnxEngine(bundle, buckets=settings.token_buckets)


def _native_engine(bundle: BundleParts, settings: Settings) -> Engine | None:
    return native_engine(bundle, buckets=settings.token_buckets, largest_batch=settings.batch_sizes[-1])


def _check_installed(settings: Settings) -> None:
    package, extra = _NEEDS[settings.engine]
    if find_spec(package) is None:
        others = [f"HEED_ENGINE={name}" for name, (other, _) in _NEEDS.items() if find_spec(other) is not None]
        raise EngineMissing(
            f"HEED_ENGINE={settings.engine} needs the package {package!r}, which is not installed. Install it: "
            f"pip install '{extra}'{f'; or set {others[0]}' if others else ''}."
        )
