"""The engine with real bundles: the same answer in every shape, and nothing traced while it serves."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle.store import load_bundle
from models.tokenizer import PAD_ID, UNKNOWN_ID
from service.inference.compilation import TensorFlowCompiler
from service.inference.engine import Result
from service.inference.keras_engine import Engine
from service.inference.shapes import Plan, Shape, bucket_of, programs_for, shape_grid, token_buckets_for
from tests.tiny_bundle import MAX_TOKENS, build_tiny_bundle

BATCH_SIZES, TOKEN_BUCKETS = (1, 64), (8, 128)
KINDS = {
    "pooling": {"mechanism": "additive_pooling", "encoder": "none"},
    "recurrent": {"mechanism": "additive_pooling", "encoder": "bilstm"},
    "self_attention": {"mechanism": "seq_multiplicative", "encoder": "none", "labels": ("bad", "fair", "good")},
}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def bundle_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: build_tiny_bundle(folder, name=kind, seed=3, **options) for kind, options in KINDS.items()}


@pytest.fixture(scope="module")
def engines(bundle_folders: dict[str, Path]) -> dict[str, Engine]:
    engines = {}
    for kind, folder in bundle_folders.items():
        engines[kind] = Engine(load_bundle(folder), batch_sizes=BATCH_SIZES, token_buckets=TOKEN_BUCKETS, threads=2)
        engines[kind].warm()
    return engines


@pytest.fixture
def cold(bundle_folders: dict[str, Path]) -> Engine:
    return Engine(load_bundle(bundle_folders["pooling"]), batch_sizes=(1, 4), token_buckets=(8, 24, 128))


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
    length=st.integers(1, MAX_TOKENS), mates=st.lists(st.integers(0, MAX_TOKENS), max_size=63), seed=st.integers(0, 9)
)
def test_an_answer_does_not_depend_on_the_batch_it_is_in(
    engines: dict[str, Engine], kind: str, length: int, mates: list[int], seed: int
) -> None:
    text, *others = texts_of([length, *mates], seed)
    place = seed * len(others) // 9
    [alone] = engines[kind].run([text])
    among = engines[kind].run([*others[:place], text, *others[place:]])
    assert len(among) == 1 + len(mates)
    assert_same(among[place], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_does_not_depend_on_the_shape_it_is_padded_to(engines: dict[str, Engine], kind: str) -> None:
    texts = texts_of([6])
    first, *others = [next(engines[kind]._run_one(texts, shape)) for shape in engines[kind].shapes]
    assert len(others) == 3
    for result in others:
        assert_same(result, first)


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_the_plain_model_cut_to_the_text(engines: dict[str, Engine], kind: str) -> None:
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


def test_a_text_without_tokens_gets_an_answer_without_weights(engines: dict[str, Engine]) -> None:
    for engine in engines.values():
        empty, full = engine.run(texts_of([0, 5]))
        assert np.isfinite(empty.logits).all()
        assert empty.attention.shape == (0,)
        assert full.attention.shape == (5,)


def test_no_text_gives_no_result(engines: dict[str, Engine]) -> None:
    assert engines["pooling"].run([]) == []
    assert engines["pooling"].run_all([]) == []


def test_many_texts_on_all_threads_get_what_each_gets_alone(engines: dict[str, Engine]) -> None:
    texts = texts_of([(7 * number) % (MAX_TOKENS + 1) for number in range(150)])
    for engine in engines.values():
        for text, result in zip(texts, engine.run_all(texts), strict=True):
            assert_same(result, engine.run([text])[0])


def test_what_a_pass_takes_is_corrected_by_a_quicker_one_of_a_text_as_long(bundle_folders: dict[str, Path]) -> None:
    engine = Engine(load_bundle(bundle_folders["recurrent"]), batch_sizes=(1,), token_buckets=(8, 128))
    engine.warm_core()
    [shape] = engine.compiled
    engine._keep(shape, 100.0)
    engine.run(texts_of([3]))
    assert engine.compiled[shape] == 100
    engine.run(texts_of([MAX_TOKENS]))
    assert engine.compiled[shape] < 100


def test_nothing_is_compiled_anew_for_other_texts(bundle_folders: dict[str, Path]) -> None:
    """XLA compiles once more, untold, for each value of an input that it thinks has to be a constant."""
    engine = Engine(load_bundle(bundle_folders["recurrent"]), batch_sizes=(1,), token_buckets=(MAX_TOKENS,))
    started = time.process_time()
    engine.warm()
    compiling = time.process_time() - started
    for length in range(1, 21):
        engine.run(texts_of([length], seed=length))
    assert time.process_time() - started - compiling < compiling  # twenty passes take a hundredth of it


def test_buckets_of_a_recurrent_model_share_programs(bundle_folders: dict[str, Path]) -> None:
    engine = Engine(load_bundle(bundle_folders["recurrent"]), batch_sizes=(1, 4), token_buckets=(8, 16, 24, 40, 64))
    engine.warm()
    assert set(engine.compiled) == set(engine.shapes)
    assert len(engine.shapes) == 10
    assert engine._compiler.traces == 4
    assert engine.retraces == 0


def test_a_text_longer_than_the_largest_bucket_is_refused(engines: dict[str, Engine]) -> None:
    with pytest.raises(ValueError, match=r"Expected at most 128 tokens, the largest bucket\. Received 129"):
        engines["pooling"].run(texts_of([129]))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_traced_after_warming(engines: dict[str, Engine], kind: str) -> None:
    engine = engines[kind]
    assert set(engine.compiled) == set(engine.shapes)
    before = engine._compiler.traces
    for count in range(1, 70, 3):
        engine.run(texts_of([1 + (7 * count + place) % MAX_TOKENS for place in range(count)]))
    assert engine._compiler.traces == before == len(engine.shapes)
    assert engine.retraces == 0


def test_a_retrace_would_be_counted(cold: Engine) -> None:
    cold.warm_core()
    assert cold.retraces == 0
    assert isinstance(cold._compiler, TensorFlowCompiler)
    cold._compiler.compile(Shape(3, 11))
    assert cold.retraces == 1


def test_weights_are_shared_by_the_shapes(cold: Engine) -> None:
    assert isinstance(cold._compiler, TensorFlowCompiler)
    tf = cold._compiler._tf
    for tokens in (8, 24):
        concrete = cold._compiler._function.get_concrete_function(tf.TensorSpec((1, tokens), tf.int32))
        # Every weight is read through the handle of its one variable, and no constant is anywhere near a weight's size.
        captured = {id(variable) for variable in concrete.graph.variables}
        assert captured == {id(weight.value) for weight in cold.bundle.model.weights}
        constants = [node for node in concrete.graph.as_graph_def().node if node.op == "Const"]
        assert all(node.attr["value"].tensor.ByteSize() < 256 for node in constants)


def test_a_new_weight_is_seen_by_every_shape(cold: Engine) -> None:
    cold.warm()
    texts = texts_of([3, 3, 3, 20])
    before = cold.run(texts)
    bias = cold.bundle.model.get_layer("head").weights[-1]
    bias.assign(bias + 1)
    for old, new in zip(before, cold.run(texts), strict=True):
        np.testing.assert_allclose(new.logits, old.logits + 1, atol=TOLERANCE)


def test_the_core_answers_every_text_and_the_rest_may_follow_while_it_serves(cold: Engine) -> None:
    texts = texts_of([2, 8, 9, 30, 64, 1, 5])
    cold.warm_core()
    assert set(cold.compiled) == set(cold.shapes[:1])
    expected = cold.run(texts)
    compiling = threading.Thread(target=cold.warm)
    compiling.start()
    runs = 0
    while compiling.is_alive() or not runs:
        for result, first in zip(cold.run(texts), expected, strict=True):
            assert_same(result, first)
        runs += 1
    compiling.join()
    assert set(cold.compiled) == set(cold.shapes)
    assert cold.retraces == 0


def test_a_shape_that_is_named_is_the_one_that_runs(cold: Engine) -> None:
    texts = texts_of([3, 8, 5])
    shape = Shape(6, 9)  # none of the engine's own
    named = cold.run_in(shape, texts)
    assert cold.compiled == {}
    cold.warm()
    for result, expected in zip(named, cold.run(texts), strict=True):
        assert_same(result, expected)
    again = cold.run_in(shape, texts[::-1])[::-1]
    assert [one.logits.tobytes() for one in again] == [one.logits.tobytes() for one in named]
    assert cold.retraces == 0
    for wrong in (texts_of([10]), texts_of([1] * 7)):
        with pytest.raises(ValueError, match="batch=6, tokens=9"):
            cold.run_in(shape, wrong)
    cold.close()
    with pytest.raises(RuntimeError, match="closed"):
        cold.run_in(shape, texts)


def test_an_engine_that_is_cold_or_closed_says_so(cold: Engine) -> None:
    with pytest.raises(RuntimeError, match="not warmed"):
        cold.run(texts_of([1]))
    cold.warm_core()
    cold.close()
    assert not cold.warm_next()
    with pytest.raises(RuntimeError, match="closed"):
        cold.run(texts_of([1]))


ON_JAX = """
import sys
from pathlib import Path
import numpy as np
from models.bundle.store import load_bundle
from service.inference.keras_engine import Engine

engine = Engine(load_bundle(Path(sys.argv[1])), batch_sizes=(1, 4), token_buckets=(8, 24, 128))
engine.warm()
with np.load(sys.argv[2]) as texts:
    results = engine.run([texts[name] for name in texts.files])
assert engine.retraces == 0 and engine._compiler.traces == len(engine.shapes), engine._compiler.traces
np.savez(sys.argv[3], *[np.concatenate([r.logits, r.attention, r.contributions]) for r in results])
"""


def test_jax_gives_the_answers_of_tensorflow(
    engines: dict[str, Engine], bundle_folders: dict[str, Path], tmp_path: Path
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
    assert token_buckets_for(64, (32, 64, 128)) == (32, 64)
    assert token_buckets_for(65, (32, 64, 128, 256)) == (32, 64, 128)
    assert token_buckets_for(500, (32, 64)) == (32, 64, 500)
    assert [bucket_of(tokens, (32, 64)) for tokens in (0, 1, 32, 33, 64)] == [32, 32, 32, 64, 64]


def test_programs_are_three_times_apart_and_hold_every_text() -> None:
    assert programs_for((16, 32, 48, 64, 96, 128, 320, 512, 1024)) == (32, 96, 320, 1024)
    assert programs_for((8, 128)) == (8, 128)
    assert programs_for((5,)) == (5,)


def test_the_grid_keeps_to_the_padded_tokens_but_lets_every_text_in() -> None:
    shapes = shape_grid((2, 8, 32), (16, 64, 256), 512)
    assert shapes[:2] == [(2, 256), (2, 64)]
    assert set(shapes) == {(2, 16), (8, 16), (32, 16), (2, 64), (8, 64), (2, 256)}
    assert Shape(2, 256) in shape_grid((2, 8), (16, 256), 100)


@given(
    lengths=st.lists(st.integers(0, 24), max_size=40),
    seconds=st.dictionaries(
        st.builds(Shape, st.sampled_from([1, 4, 16]), st.sampled_from([8, 16, 24])), st.floats(0.001, 1), min_size=1
    ).filter(lambda seconds: any(shape.tokens == 24 for shape in seconds)),
)
def test_the_plan_holds_every_text_once_and_no_single_shape_is_cheaper(
    lengths: list[int], seconds: dict[Shape, float]
) -> None:
    passes = Plan(seconds, (8, 16, 24)).batches(lengths)
    assert sorted(place for places, _ in passes for place in places) == list(range(len(lengths)))
    for places, shape in passes:
        assert 0 < len(places) <= shape.batch
        assert all(lengths[place] <= shape.tokens for place in places)
    total = sum(seconds[shape] for _, shape in passes)
    for shape, spent in seconds.items():
        if shape.tokens >= max(lengths, default=0):
            assert total <= spent * -(-len(lengths) // shape.batch) + 1e-9


def test_the_plan_sets_a_long_text_apart_where_that_is_cheaper() -> None:
    plan = Plan({Shape(1, 8): 1.0, Shape(4, 8): 2.0, Shape(1, 24): 3.0, Shape(4, 24): 6.0}, (8, 24))
    assert sorted(plan.batches([3, 24, 8, 1])) == [([1], Shape(1, 24)), ([3, 0, 2], Shape(4, 8))]
    assert plan.batches([9, 24, 8]) == [([2, 0, 1], Shape(4, 24))]
