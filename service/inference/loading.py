"""The engines that a bundle may run on, the one that is set, and its crew; only that one's packages are imported."""

import gc
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np

from models.bundle.parts import BundleParts
from models.bundle.verification import BundleError
from models.native import use
from service.inference.cores import usable_cores
from service.inference.crew import Crew
from service.inference.engine import Result
from service.inference.python_crew import PythonCrew
from service.inference.shapes import Shape
from service.settings import Settings

_SWITCH_SECONDS = 0.0005
"""How long other Python code may keep an engine's thread waiting, once its forward pass is done; by default ten times
as long, which is as long as the forward pass itself."""

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""An answer is hundreds of objects, none of which needs the collector; by default it looks at every second answer."""

_BATCH_TOKENS = {"keras": 2048, "onnx": 2048, "native": 4096}
"""Measured. In C four texts at once are as quick, each, as eight; two are not."""

_NEEDS = {"keras": ("keras", "heed[cpu]"), "onnx": ("onnxruntime", "heed[onnx]")}


class _Bounds(TypedDict):
    threads: int
    max_queued_tokens: int
    max_batch_tokens: int


class EngineMissing(BundleError):
    """The engine that is set is not installed; the message says what to install."""


class ServingEngine(Protocol):
    """What serves the texts of one bundle."""

    name: str
    """As it is set by `HEED_ENGINE`, or `native` where what is set leaves a bundle to C."""
    threads: int
    """Forward passes at once."""

    @property
    def bundle(self) -> BundleParts:
        """Whose model it runs."""

    @property
    def token_buckets(self) -> Sequence[int]:
        """Padded lengths, in rising order."""

    @property
    def largest_batch(self) -> int:
        """Texts in one forward pass, at most."""

    @property
    def compiled(self) -> dict[Shape, float]:
        """The shapes compiled so far, with the seconds that a forward pass of each takes."""

    @property
    def retraces(self) -> int:
        """Compilations while it served; each is a fault."""

    def warm_core(self) -> None:
        """Do what must be done before every text has an answer."""

    def warm_next(self) -> bool:
        """Do a part of what makes answers faster; False when there is none left."""

    def warm(self) -> None:
        """Do all of it."""

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of texts given as int32[tokens] each, in their order. May be called from several threads."""

    def run_all(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """As `run`, on several threads."""

    def run_in(self, shape: Shape, ids: Sequence[np.ndarray]) -> list[Result]:
        """As `run`, in one forward pass of just this shape."""

    def close(self) -> None:
        """Run nothing any more."""


def prepare_process(settings: Settings) -> None:
    """Set up what holds for the whole process, before any engine is opened.

    Raises:
        EngineMissing: the engine that is set is not installed.
    """
    _check_installed(settings)
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    if settings.engine == "keras":
        from service.inference.compilation import use_one_core_a_pass

        use_one_core_a_pass()


def open_engine(path: Path, settings: Settings) -> ServingEngine:
    """The bundle in folder `path` on the engine that is set, not warmed yet.

    Raises:
        BundleError: the bundle is refused, or cannot run on this engine.
        EngineMissing: the engine is not installed.
    """
    _check_installed(settings)
    use(settings.native)
    threads = settings.engine_threads or usable_cores()
    if settings.engine == "onnx":
        from models.bundle.onnx.bundle import load_onnx_bundle
        from service.inference.onnx_engine import OnnxEngine

        return OnnxEngine(load_onnx_bundle(path), largest_batch=settings.batch_sizes[-1], threads=threads)

    from models.bundle.store import load_bundle
    from service.inference.keras_engine import Engine
    from service.inference.native_classifier import NativeClassifier
    from service.inference.native_engine import NativeEngine

    bundle = load_bundle(path)
    if classifier := NativeClassifier.of(bundle.model):
        return NativeEngine(
            bundle,
            classifier,
            token_buckets=settings.token_buckets,
            largest_batch=settings.batch_sizes[-1],
            threads=threads,
        )
    return Engine(
        bundle,
        batch_sizes=settings.batch_sizes,
        token_buckets=settings.token_buckets,
        max_batch_tokens=batch_tokens(Engine.name, settings),
        threads=threads,
    )


def crew_of(engine: ServingEngine, settings: Settings) -> Crew:
    """The threads that work off what is asked of this engine, not started yet."""
    bounds: _Bounds = {
        "threads": engine.threads,
        "max_queued_tokens": settings.max_queued_tokens,
        "max_batch_tokens": batch_tokens(engine.name, settings),
    }
    if engine.name == "native":  # only then is Keras surely installed
        from service.inference.native_crew import MOST_BUCKETS, NativeCrew
        from service.inference.native_engine import NativeEngine

        if isinstance(engine, NativeEngine) and len(engine.token_buckets) <= MOST_BUCKETS:
            return NativeCrew(engine, **bounds)
    return PythonCrew(engine, **bounds)


def batch_tokens(engine: str, settings: Settings) -> int:
    """Padded tokens in one forward pass of the engine of this name, at most."""
    return settings.max_batch_tokens or max(_BATCH_TOKENS[engine], settings.token_buckets[-1])


def _check_installed(settings: Settings) -> None:
    package, extra = _NEEDS[settings.engine]
    if find_spec(package) is None:
        there = [f"HEED_ENGINE={name}" for name, (other, _) in _NEEDS.items() if find_spec(other) is not None]
        raise EngineMissing(
            f"HEED_ENGINE={settings.engine} needs the package {package!r}, which is not installed. Install it: "
            f"pip install '{extra}'{f'; or set {there[0]}' if there else ''}."
        )
