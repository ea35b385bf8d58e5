"""The engine of the kernels, with a real bundle."""

from pathlib import Path

import numpy as np
import pytest

from models.bundle.store import load_bundle
from service.inference.engine import Engine
from service.inference.keras_engine import KerasEngine
from service.inference.native_engine import native_engine


@pytest.fixture(scope="module")
def engine(native_folder: Path) -> Engine:
    engine = native_engine(load_bundle(native_folder), buckets=(16, 64), largest_batch=4)
    assert engine is not None
    next(engine.warm())
    return engine


def texts_of(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(1, 20, length).astype(np.int32) for length in lengths]


def test_a_text_gets_the_same_to_the_last_bit_in_any_batch(engine: Engine) -> None:
    texts = texts_of(5, 64, 1, 30, 31, 7, 0, 12, 64, 3)
    for text, result in zip(texts, engine.run(texts), strict=True):
        [alone] = engine.run([text])
        for name in ("logits", "attention", "contributions"):
            np.testing.assert_array_equal(getattr(result, name), getattr(alone, name))


def test_it_answers_as_keras_does(engine: Engine, native_folder: Path) -> None:
    texts = texts_of(9, 2, 40)
    other = KerasEngine(load_bundle(native_folder), batch_sizes=(1,), buckets=(64,), max_batch_tokens=1)
    next(other.warm())
    for one, expected in zip(engine.run(texts), other.run(texts), strict=True):
        np.testing.assert_allclose(one.logits, expected.logits, atol=1e-5)
        np.testing.assert_allclose(one.attention, expected.attention, atol=1e-5)


def test_what_it_cannot_run_is_refused(native_folder: Path, models_dir: Path) -> None:
    assert native_engine(load_bundle(models_dir / "stars"), buckets=(64,), largest_batch=4) is None
    engine = native_engine(load_bundle(native_folder), buckets=(16, 64), largest_batch=4)
    assert engine is not None
    with pytest.raises(ValueError, match="Expected at most"):
        engine.run(texts_of(65))
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(texts_of(3))
