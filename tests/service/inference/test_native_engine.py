"""The engine whose forward passes are in C, with a real bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle.store import load_bundle
from service.inference.engine import Result
from service.inference.keras_engine import Engine
from service.inference.loading import batch_tokens, open_engine
from service.inference.native_engine import NativeEngine
from service.inference.shapes import Shape
from service.settings import Settings


@pytest.fixture(scope="module")
def engine(native_folder: Path) -> NativeEngine:
    engine = open_engine(native_folder, Settings(batch_sizes=(1, 4), engine_threads=2))
    assert isinstance(engine, NativeEngine)
    engine.warm()
    return engine


def texts_of(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(1, 20, length).astype(np.int32) for length in lengths]


def assert_equal(results: list[Result], expected: list[Result]) -> None:
    for one, other in zip(results, expected, strict=True):
        for name in ("logits", "attention", "contributions"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_all_its_ways_to_run_say_the_same_to_the_last_bit(engine: NativeEngine) -> None:
    texts = texts_of(5, 64, 1, 30, 31, 7, 0, 12, 64, 3)
    expected = engine.run(texts)
    assert_equal(engine.run_all(texts), expected)
    assert_equal(engine.run_in(Shape(12, 64), texts), expected)
    assert_equal([result for text in texts for result in engine.run([text])], expected)


def test_it_says_what_the_engine_of_keras_says(engine: NativeEngine, native_folder: Path) -> None:
    texts = texts_of(9, 2, 40)
    other = Engine(load_bundle(native_folder), batch_sizes=(1,), token_buckets=(64,))
    other.warm()
    for one, expected in zip(engine.run(texts), other.run(texts), strict=True):
        np.testing.assert_allclose(one.logits, expected.logits, atol=1e-5)
        np.testing.assert_allclose(one.attention, expected.attention, atol=1e-5)


def test_there_is_nothing_to_compile(engine: NativeEngine) -> None:
    assert (engine.name, engine.compiled, engine.retraces, engine.warm_next()) == ("native", {}, 0, False)


def test_what_does_not_fit_is_refused(engine: NativeEngine) -> None:
    for shape, lengths in ((Shape(1, 64), (3, 3)), (Shape(2, 16), (17,))):
        with pytest.raises(ValueError, match="Expected texts that fit into Shape"):
            engine.run_in(shape, texts_of(*lengths))
    with pytest.raises(ValueError, match="Expected at most"):
        engine.run(texts_of(engine.token_buckets[-1] + 1))


def test_closed_it_runs_nothing(native_folder: Path) -> None:
    engine = open_engine(native_folder, Settings())
    engine.close()
    with pytest.raises(RuntimeError, match="This one is closed"):
        engine.run(texts_of(3))


def test_the_setting_turns_it_off(native_folder: Path) -> None:
    try:
        assert isinstance(open_engine(native_folder, Settings(native=False)), Engine)
    finally:
        assert isinstance(open_engine(native_folder, Settings()), NativeEngine)


@pytest.mark.parametrize(
    ("engine", "settings", "tokens"),
    [
        ("keras", {}, 2048),
        ("onnx", {}, 2048),
        ("native", {}, 4096),
        ("native", {"max_batch_tokens": 1500}, 1500),
        ("keras", {"token_buckets": (16, 5000)}, 5000),
    ],
)
def test_how_many_tokens_go_in_a_pass(engine: str, settings: dict[str, Any], tokens: int) -> None:
    assert batch_tokens(engine, Settings(**settings)) == tokens
