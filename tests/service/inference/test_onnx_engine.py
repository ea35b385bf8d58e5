"""ONNX Runtime as the engine: the answers of Keras, in any batch, and a service in which there is no Keras."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle.onnx.bundle import load_onnx_bundle
from models.bundle.store import load_bundle
from service.inference.engine import Result
from service.inference.keras_engine import KerasEngine
from service.inference.onnx_engine import OnnxEngine
from service.local import LocalModel
from service.settings import Settings
from tests.service.running import ROOT, RunningService, running_service
from tests.tiny_bundle import HYBRID, MAX_TOKENS, NGRAMS_ALONE, build_tiny_bundle

INVARIANT, AGREES = 1e-5, 1e-4
BUCKETS = (16, 32, 48, 64, 128)
KINDS = {"default": {"encoder": "bilstm"}, "ngrams": NGRAMS_ALONE, "hybrid": HYBRID}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each kind, `default` being recurrent, and `plain`, which has no model for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("bundles")
    for kind, options in KINDS.items():
        build_tiny_bundle(folder, name=kind, onnx=True, seed=3, **options)
    build_tiny_bundle(folder, name="plain")
    return folder


@pytest.fixture(scope="module", params=KINDS)
def engine(bundles: Path, request: pytest.FixtureRequest) -> OnnxEngine:
    engine = OnnxEngine(load_onnx_bundle(bundles / request.param), buckets=BUCKETS)
    next(engine.warm())
    return engine


@pytest.fixture(scope="module")
def onnx_service(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(bundles, tmp_path_factory.mktemp("service") / "log", ENGINE="onnx") as running:
        yield running


def texts_of(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(1, 30, length).astype(np.int32) for length in lengths]


def assert_same(result: Result, expected: Result, tolerance: float) -> None:
    np.testing.assert_allclose(result.logits, expected.logits, rtol=0, atol=tolerance)
    np.testing.assert_allclose(result.attention, expected.attention, rtol=0, atol=tolerance)
    assert result.contributions is not None
    np.testing.assert_allclose(result.contributions, expected.contributions, rtol=0, atol=tolerance)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.integers(1, MAX_TOKENS),
    neighbours=st.lists(st.integers(0, MAX_TOKENS), max_size=40),
    seed=st.integers(0, 9),
)
def test_an_answer_does_not_depend_on_the_batch_it_is_in(
    engine: OnnxEngine, length: int, neighbours: list[int], seed: int
) -> None:
    text, *others = texts_of([length, *neighbours], seed)
    place = seed * len(others) // 9
    [alone] = engine.run([text])
    batch = [*others[:place], text, *others[place:]]
    among = engine.run(batch)
    assert [len(each.attention) for each in among] == [len(each) for each in batch]
    assert_same(among[place], alone, INVARIANT)


def test_both_engines_give_the_same_answers(engine: OnnxEngine) -> None:
    compiled = KerasEngine(load_bundle(engine.bundle.path), batch_sizes=(4,), buckets=(64,), max_batch_tokens=1)
    next(compiled.warm())
    texts = texts_of([0, 1, 5, 16, 17, 40, 64, 3, 2])
    for result, expected in zip(engine.run(texts), compiled.run(texts), strict=True):
        assert result.logits.dtype == result.attention.dtype == np.float32
        assert_same(result, expected, AGREES)


def test_several_threads_get_their_own_answers(engine: OnnxEngine) -> None:
    lists = [texts_of([seed + 1, 30, 7], seed) for seed in range(6)]
    expected = [engine.run(texts) for texts in lists]
    with ThreadPoolExecutor(6) as pool:
        for results, others in zip(pool.map(engine.run, lists * 20), expected * 20, strict=True):
            for result, other in zip(results, others, strict=True):
                assert_same(result, other, INVARIANT)


def test_a_text_that_is_too_long_is_refused(engine: OnnxEngine) -> None:
    assert engine.buckets == (16, 32, 48, 64)
    assert engine.run([]) == []
    with pytest.raises(ValueError, match=r"Expected at most 64 tokens, the largest bucket\. Received 65"):
        engine.run(texts_of([65]))


def test_a_closed_engine_says_so(bundles: Path) -> None:
    engine = OnnxEngine(load_onnx_bundle(bundles / "default"), buckets=BUCKETS)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(texts_of([1]))


def test_the_service_answers_as_the_keras_engine_does(onnx_service: RunningService, bundles: Path) -> None:
    texts = ["I did not like it.", "A wonderful, moving film; the acting is superb!", "dull"]
    answer = httpx.post(f"{onnx_service.url}/predict", json={"texts": texts})
    assert answer.status_code == 200, answer.text
    predictions = LocalModel.load(Settings(models_dir=bundles)).predict(texts)
    for received, expected in zip(answer.json()["predictions"], predictions, strict=True):
        assert received["base_log_odds"] == pytest.approx(expected["base_log_odds"], abs=1e-7)
        assert received["scores"] == pytest.approx(expected["scores"], abs=AGREES)
        for token, other in zip(received["tokens"], expected["tokens"], strict=True):
            assert {name: token[name] for name in ("text", "start", "end", "known")} == {
                name: other[name] for name in ("text", "start", "end", "known")
            }
            assert token["weight"] == pytest.approx(other["weight"], abs=AGREES)
            assert token["contribution"] == pytest.approx(other["contribution"], abs=AGREES)


def test_the_service_lists_what_cannot_run_on_it(onnx_service: RunningService) -> None:
    listed = httpx.get(f"{onnx_service.url}/models").json()
    assert [model["name"] for model in listed["models"]] == sorted(KINDS)
    [refused] = listed["refused"]
    assert refused["name"] == "plain"
    assert "python -m training export" in refused["reason"]
    assert "heed_retraces_total{" in httpx.get(f"{onnx_service.url}/metrics").text


def test_the_service_imports_neither_keras_nor_a_backend(bundles: Path, tmp_path: Path) -> None:
    for kind in KINDS:
        shutil.copytree(bundles / kind, tmp_path / "models" / kind)
    script = """
import asyncio, sys
from pathlib import Path
from service.http.app import create_app
from service.inference.loading import prepare_process
from service.local import LocalModel, open_for_scoring
from service.settings import Settings
import service.http.server, service.cli, service.scoring.run

async def main():
    settings = Settings(engine="onnx", models_dir=Path(sys.argv[1]), reload_seconds=0)
    prepare_process(settings)
    registry = create_app(settings).state.registry
    await registry.start()
    while not registry.started:
        await asyncio.sleep(0.01)
    assert registry.ready, registry.not_ready_reason
    assert not registry.refused
    await registry.close()
    assert LocalModel.load(settings).predict(["a dull film"])
    assert open_for_scoring(settings).identity[0] in ("OnnxEngine", "NativeEngine")

asyncio.run(main())
print(sorted({"keras", "tensorflow", "jax", "torch", "h5py", "onnx", "tf2onnx"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "models"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
