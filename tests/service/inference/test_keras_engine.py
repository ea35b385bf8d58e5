"""The engine with real bundles: the same answer in every shape, and nothing traced while it serves."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle.store import load_bundle
from models.tokenizer import PAD_ID, UNKNOWN_ID
from service.inference.engine import Engine, Result, bucket_of, buckets_up_to
from service.inference.keras_engine import KerasEngine
from tests.tiny_bundle import HYBRID, MAX_TOKENS, NGRAMS_ALONE, build_tiny_bundle

BATCH_SIZES, BUCKETS = (1, 8), (8, 128)
KINDS = {
    "pooling": {"mechanism": "additive_pooling", "encoder": "none"},
    "recurrent": {"mechanism": "additive_pooling", "encoder": "bilstm"},
    "self_attention": {"mechanism": "seq_multiplicative", "encoder": "none", "labels": ("bad", "fair", "good")},
    "ngrams": NGRAMS_ALONE,
    "hybrid": HYBRID,
}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def bundle_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: build_tiny_bundle(folder, name=kind, seed=3, **options) for kind, options in KINDS.items()}


@pytest.fixture(scope="module")
def engines(bundle_folders: dict[str, Path]) -> dict[str, KerasEngine]:
    engines = {}
    for kind, folder in bundle_folders.items():
        engines[kind] = KerasEngine(
            load_bundle(folder), batch_sizes=BATCH_SIZES, buckets=BUCKETS, max_batch_tokens=10_000
        )
        warm(engines[kind])
    return engines


@pytest.fixture
def cold(bundle_folders: dict[str, Path]) -> KerasEngine:
    return KerasEngine(
        load_bundle(bundle_folders["pooling"]), batch_sizes=(1, 4), buckets=(8, 24, 128), max_batch_tokens=10_000
    )


def warm(engine: Engine) -> None:
    for _ in engine.warm():
        pass


def texts_of(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(UNKNOWN_ID, 30, length).astype(np.int32) for length in lengths]


def assert_same(result: Result, expected: Result) -> None:
    np.testing.assert_allclose(result.logits, expected.logits, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(result.attention, expected.attention, rtol=0, atol=TOLERANCE)
    assert (result.contributions is None) == (expected.contributions is None)
    if result.contributions is not None and expected.contributions is not None:
        np.testing.assert_allclose(result.contributions, expected.contributions, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.integers(1, MAX_TOKENS),
    neighbours=st.lists(st.integers(0, MAX_TOKENS), max_size=63),
    seed=st.integers(0, 9),
)
def test_an_answer_does_not_depend_on_the_batch_it_is_in(
    engines: dict[str, KerasEngine], kind: str, length: int, neighbours: list[int], seed: int
) -> None:
    text, *others = texts_of([length, *neighbours], seed)
    place = seed * len(others) // 9
    [alone] = engines[kind].run([text])
    among = engines[kind].run([*others[:place], text, *others[place:]])
    assert len(among) == 1 + len(neighbours)
    assert_same(among[place], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_does_not_depend_on_the_shape_it_is_padded_to(bundle_folders: dict[str, Path], kind: str) -> None:
    bundle, [text] = load_bundle(bundle_folders[kind]), texts_of([6])
    results = []
    for batch, bucket in ((1, 64), (8, 128), (1, 8)):
        engine = KerasEngine(bundle, batch_sizes=(batch,), buckets=(bucket,), max_batch_tokens=1)
        next(engine.warm())
        results += engine.run([text])
    for result in results[1:]:
        assert_same(result, results[0])


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_the_plain_model_cut_to_the_text(engines: dict[str, KerasEngine], kind: str) -> None:
    texts = texts_of([1, 7, 8, 9, 24, 25, 64, 3])
    for text, result in zip(texts, engines[kind].run(texts), strict=True):
        read = slice(len(text))
        outputs = engines[kind].bundle.model(np.pad(text, (0, 2), constant_values=PAD_ID)[np.newaxis])
        assert result.logits.dtype == result.attention.dtype == np.float32
        assert result.attention.shape == text.shape
        np.testing.assert_allclose(result.logits, outputs["logits"][0], atol=TOLERANCE)
        np.testing.assert_allclose(result.attention, outputs["attention"][0, read], atol=TOLERANCE)
        assert result.attention.sum() == pytest.approx(1, abs=TOLERANCE)
        assert result.contributions is not None
        np.testing.assert_allclose(result.contributions, outputs["contributions"][0, read], atol=TOLERANCE)


def test_a_text_without_tokens_gets_an_answer_without_weights(engines: dict[str, KerasEngine]) -> None:
    for engine in engines.values():
        empty, full = engine.run(texts_of([0, 5]))
        assert np.isfinite(empty.logits).all()
        assert empty.attention.shape == (0,)
        assert full.attention.shape == (5,)


def test_no_text_gives_no_result(engines: dict[str, KerasEngine]) -> None:
    assert engines["pooling"].run([]) == []


def test_a_text_longer_than_the_largest_bucket_is_refused(engines: dict[str, KerasEngine]) -> None:
    with pytest.raises(ValueError, match=r"Expected at most 128 tokens, the largest bucket\. Received 129"):
        engines["pooling"].run(texts_of([129]))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_traced_after_warming(engines: dict[str, KerasEngine], kind: str) -> None:
    engine = engines[kind]
    for count in range(1, 70, 3):
        engine.run(texts_of([1 + (7 * count + place) % MAX_TOKENS for place in range(count)]))
    assert engine.facts() == {"compiled_shapes": 4, "retraces": 0}


def test_a_new_weight_is_seen_by_every_shape(cold: KerasEngine) -> None:
    warm(cold)
    texts = texts_of([3, 3, 3, 20])
    before = cold.run(texts)
    bias = cold.bundle.model.get_layer("head").weights[-1]
    bias.assign(bias + 1)
    for old, new in zip(before, cold.run(texts), strict=True):
        np.testing.assert_allclose(new.logits, old.logits + 1, atol=TOLERANCE)


def test_the_first_shape_answers_every_text_and_the_rest_may_follow_while_it_serves(cold: KerasEngine) -> None:
    texts = texts_of([2, 8, 9, 30, 64, 1, 5])
    next(cold.warm())
    assert cold.facts()["compiled_shapes"] == 1
    expected = cold.run(texts)
    compiling = threading.Thread(target=warm, args=(cold,))
    compiling.start()
    runs = 0
    while compiling.is_alive() or not runs:
        for result, first in zip(cold.run(texts), expected, strict=True):
            assert_same(result, first)
        runs += 1
    compiling.join()
    assert cold.facts() == {"compiled_shapes": 6, "retraces": 0}


def test_several_threads_get_their_own_answers(engines: dict[str, KerasEngine]) -> None:
    lists = [texts_of([seed + 1, 30, 7], seed) for seed in range(6)]
    engine = engines["recurrent"]
    expected = [engine.run(texts) for texts in lists]
    with ThreadPoolExecutor(6) as pool:
        for results, others in zip(pool.map(engine.run, lists * 10), expected * 10, strict=True):
            for result, other in zip(results, others, strict=True):
                assert_same(result, other)


def test_the_same_batch_gets_the_same_bytes_from_another_engine(bundle_folders: dict[str, Path]) -> None:
    texts, bundle = texts_of([3, 8, 5, 40]), load_bundle(bundle_folders["recurrent"])
    found = []
    for _ in range(2):
        engine = KerasEngine(bundle, batch_sizes=(8,), buckets=(8, 64), max_batch_tokens=10_000)
        warm(engine)
        found.append([result.logits.tobytes() + result.attention.tobytes() for result in engine.run(texts)])
    assert found[0] == found[1]


def test_an_engine_that_is_cold_or_closed_says_so(cold: KerasEngine) -> None:
    with pytest.raises(RuntimeError, match="not warm"):
        cold.run(texts_of([1]))
    warming = cold.warm()
    next(warming)
    cold.close()
    assert list(warming) == []
    with pytest.raises(RuntimeError, match="closed"):
        cold.run(texts_of([1]))


ON_JAX = """
import sys
from pathlib import Path
import numpy as np
from models.bundle.store import load_bundle
from service.inference.keras_engine import KerasEngine

engine = KerasEngine(load_bundle(Path(sys.argv[1])), batch_sizes=(1, 4), buckets=(8, 128), max_batch_tokens=10_000)
for _ in engine.warm():
    pass
with np.load(sys.argv[2]) as texts:
    results = engine.run([texts[name] for name in texts.files])
assert engine.facts() == {"compiled_shapes": 4, "retraces": 0}, engine.facts()
np.savez(sys.argv[3], *[np.concatenate([r.logits, r.attention, r.contributions]) for r in results])
"""


def test_jax_gives_the_answers_of_tensorflow(
    engines: dict[str, KerasEngine], bundle_folders: dict[str, Path], tmp_path: Path
) -> None:
    texts = texts_of([1, 8, 9, 64, 30, 5, 7, 0])
    np.savez(tmp_path / "texts.npz", *texts)
    command = [
        sys.executable,
        "-c",
        ON_JAX,
        bundle_folders["recurrent"],
        tmp_path / "texts.npz",
        tmp_path / "answers.npz",
    ]
    done = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "answers.npz") as answers:
        for name, expected in zip(answers.files, engines["recurrent"].run(texts), strict=True):
            assert expected.contributions is not None
            whole = np.concatenate([expected.logits, expected.attention, expected.contributions])
            np.testing.assert_allclose(answers[name], whole, atol=TOLERANCE)


def test_buckets_of_a_model_end_where_its_texts_do() -> None:
    assert buckets_up_to(64, (32, 64, 128)) == (32, 64)
    assert buckets_up_to(65, (32, 64, 128, 256)) == (32, 64, 128)
    assert buckets_up_to(500, (32, 64)) == (32, 64, 500)
    assert [bucket_of(tokens, (32, 64)) for tokens in (0, 1, 32, 33, 64)] == [32, 32, 32, 64, 64]


def test_a_large_batch_of_long_texts_is_not_compiled_but_every_text_gets_in(bundle_folders: dict[str, Path]) -> None:
    bundle = load_bundle(bundle_folders["pooling"])
    engine = KerasEngine(bundle, batch_sizes=(2, 8), buckets=(8, 16, 64), max_batch_tokens=128)
    warm(engine)
    assert engine.facts()["compiled_shapes"] == 5  # not (8, 64)
    assert len(engine.run(texts_of([64, 60, 61, 3]))) == 4
