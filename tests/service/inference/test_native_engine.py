"""The engine on the forward kernel beside Keras, and the bundles that it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import service.inference.native_engine as module
from models import native
from models.bundle.parts import read_bundle_parts
from models.bundle.store import load_bundle
from models.bundle.weights import read_weights
from models.native.forward import NativeForward
from service.inference.engine import Engine, Result
from service.inference.native_engine import NativeEngine, native_engine
from tests.models.bundle.forged_bundle import change_architecture, seal
from tests.tiny_bundle import HYBRID, NGRAMS, NGRAMS_ALONE, build_tiny_bundle

KINDS: dict[str, dict[str, Any]] = {
    "lstm": {"encoder": "bilstm", "encoder_units": 16},
    "gru": {"encoder": "bigru", "encoder_units": 48},
    "three labels": {"encoder": "bilstm", "encoder_units": 16, "labels": ("bad", "fair", "good")},
    "ngrams": NGRAMS_ALONE,
    "hybrid": HYBRID,
    "hybrid of three labels": HYBRID | {"encoder": "bigru", "labels": ("bad", "fair", "good")},
}

pytestmark = pytest.mark.usefixtures("compiled", "any_processor")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("bundles")
    return {
        kind: build_tiny_bundle(directory, name=kind.replace(" ", "_"), seed=3, **options)
        for kind, options in KINDS.items()
    }


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return shutil.copytree(folders["lstm"], tmp_path / "lstm")


def engine_of(bundle: Any) -> Engine | None:
    return native_engine(bundle, buckets=(16, 32), largest_batch=4)


def opened(path: Path) -> Engine:
    engine = engine_of(read_bundle_parts(path))
    assert engine is not None
    return engine


def texts_of(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(1, 20, length).astype(np.int32) for length in lengths]


def assert_equal(results: list[Result], expected: list[Result]) -> None:
    for one, other in zip(results, expected, strict=True):
        for name in ("logits", "attention", "contributions"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_keras_whether_keras_loaded_the_bundle_or_not(folders: dict[str, Path], kind: str) -> None:
    bundle = load_bundle(folders[kind])
    texts = texts_of(9, 2, 40, 0, 64)
    loaded = engine_of(bundle)
    assert loaded is not None
    results = opened(folders[kind]).run(texts)
    assert_equal(loaded.run(texts), results)
    for text, result in zip(texts, results, strict=True):
        padded = np.zeros((1, 64), np.int32)
        padded[0, : len(text)] = text
        expected = {name: np.asarray(output)[0] for name, output in bundle.model(padded).items()}
        np.testing.assert_allclose(result.logits, expected["logits"], atol=1e-5)
        np.testing.assert_allclose(result.attention, expected["attention"][: len(text)], atol=1e-5)
        assert result.contributions is not None
        np.testing.assert_allclose(result.contributions, expected["contributions"][: len(text)], atol=1e-5)
        assert result.finite


@pytest.mark.parametrize("kind", ["lstm", "ngrams", "hybrid"])
def test_a_text_gets_the_same_bits_alone_and_among_others(folders: dict[str, Path], kind: str) -> None:
    engine = opened(folders[kind])
    texts = texts_of(5, 64, 1, 30, 31, 7, 0, 12, 64, 3)
    assert_equal([result for text in texts for result in engine.run([text])], engine.run(texts))


@pytest.mark.parametrize("kind", ["lstm", "ngrams", "hybrid"])
def test_it_keeps_the_contract_of_an_engine(folders: dict[str, Path], kind: str) -> None:
    engine = opened(folders[kind])
    assert list(engine.buckets) == [16, 32, 64]  # the last one holds the longest text
    assert list(engine.warm()) == [None]
    assert engine.run([]) == []
    assert isinstance(engine.facts(), dict)
    with pytest.raises(ValueError, match="Expected at most 64 tokens"):
        engine.run(texts_of(65))
    with pytest.raises(ValueError, match="Expected ids from 1 to"):
        engine.run([np.array([0], np.int32)])
    engine.close()
    with pytest.raises(RuntimeError, match="This one is closed"):
        engine.run(texts_of(3))


def test_outputs_that_are_not_finite_are_left_to_the_caller(folder: Path) -> None:
    parts = read_bundle_parts(folder)
    assert parts.kernel is not None
    weights = read_weights(folder / "model.keras", parts.kernel)
    weights["embedding"][7] = np.nan
    engine = NativeEngine(NativeForward(weights), buckets=(16,), largest_batch=1)
    bad, good = engine.run([np.array([7], np.int32), np.array([8], np.int32)])
    assert (bad.finite, good.finite) == (None, True)


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "none"},
        {"encoder": "convolution"},
        {"encoder": "bilstm", "encoder_units": 17},
        {"encoder": "bilstm", "encoder_units": 16, "mechanism": "seq_weighted"},
        {"mechanism": "ngram_attention", "attention": {"buckets": 64}},  # in 32 bits
        {"encoder": "bilstm", "encoder_units": 16, "ngrams": {"buckets": 64}},
        {"encoder": "none", "ngrams": NGRAMS},
    ],
    ids=str,
)
def test_other_architectures_have_no_kernel(tmp_path: Path, options: dict[str, Any]) -> None:
    path = build_tiny_bundle(tmp_path, **options)
    assert read_bundle_parts(path).card.kernel is None
    assert engine_of(load_bundle(path)) is None


def swap(one: str, other: str) -> Callable[[dict[str, Any]], None]:
    def change(card: dict[str, Any]) -> None:
        kernel = card["kernel"]
        kernel[one], kernel[other] = kernel[other], kernel[one]

    return change


def place(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda card: card["kernel"][name].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["kernel"].clear(),
        lambda card: card["kernel"].pop("head_bias"),
        lambda card: card["kernel"].update(other={"offset": 0, "shape": [1]}),
        swap("forward_kernel", "backward_kernel"),
        swap("forward_recurrent", "backward_recurrent"),
        swap("head_kernel", "attention_kernel"),
        place("embedding", offset=0),
        place("embedding", offset=1 << 40),
        place("embedding", shape=[1 << 31, 1 << 31]),
        place("embedding", shape=[1, 1]),
        place("forward_recurrent", shape=[64, 256]),
        place("backward_recurrent", shape=[64, 256]),
        place("forward_bias", shape=[2, 48]),
        place("head_kernel", shape=[32]),
        lambda card: card["config"].update(attention={"temperature": 0.0}),
        lambda card: card["config"].update(attention={"temperature": float("inf")}),
        lambda card: card["config"].update(attention={"temperature": "1"}),
        lambda card: card["config"].update(attention={"temperature": 2.0}),
        lambda card: card["config"].update(attention=[1]),
    ],
)
def test_a_card_that_claims_anything_is_left_to_the_engine_of_the_graph(
    folder: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    seal(folder, change)
    assert engine_of(read_bundle_parts(folder)) is None
    assert engine_of(load_bundle(folder)) is None


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("ngrams", swap("ngram_logits", "ngram_values")),
        ("ngrams", place("ngram_values", offset=0)),
        ("ngrams", place("ngram_values", dtype="uint8")),
        ("ngrams", place("ngram_values", shape=[1, 1 << 16])),
        ("ngrams", place("ngram_logits", dtype="float32")),
        ("ngrams", place("ngram_logits", shape=[1 << 15])),
        ("ngrams", place("ngram_logit_range", shape=[1])),
        ("ngrams", lambda card: card["config"]["attention"].update(scale=5.0)),
        ("ngrams", lambda card: card["config"]["attention"].update(longest=2)),
        ("ngrams", lambda card: card["config"]["attention"].update(longest=100)),
        ("ngrams", lambda card: card["config"].update(mechanism="additive_pooling", encoder="bilstm")),
        ("hybrid", lambda card: card["kernel"].pop("head_kernel")),
        ("hybrid", lambda card: card["kernel"].pop("forward_recurrent")),
        ("hybrid", lambda card: card["kernel"].pop("ngram_logits")),
        ("hybrid", place("head_kernel", shape=[32, 2])),
        ("hybrid", place("head_kernel", shape=[66])),
        ("hybrid", place("forward_recurrent", shape=[64, 256])),
        ("hybrid", lambda card: card["config"].update(ngram_share=0.4)),
        ("hybrid", lambda card: card["config"].update(ngram_share="half")),
        ("hybrid", lambda card: card["config"].update(ngrams=None)),
        ("hybrid", lambda card: card["config"].update(ngrams={"bits": 8, "longest": "3"})),
    ],
)
def test_so_is_one_that_claims_anything_of_ngrams(
    folders: dict[str, Path], tmp_path: Path, kind: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    seal(folder, change)
    assert engine_of(read_bundle_parts(folder)) is None


def layer_named(architecture: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [layer["config"] for layer in architecture["config"]["layers"] if layer["config"]["name"] == name]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda each: layer_named(each, "encoder")["backward_layer"]["config"].update(activation="relu"),
        lambda each: layer_named(each, "encoder")["layer"]["config"].update(recurrent_activation="hard_sigmoid"),
        lambda each: layer_named(each, "attention").update(activation="relu"),
        lambda each: layer_named(each, "attention").update(temperature=3.0),
        lambda each: layer_named(each, "weights").update(activation="relu"),
    ],
)
def test_a_graph_that_differs_from_the_config_is_not_taken_over(
    folder: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    change_architecture(folder, change)
    parts = read_bundle_parts(folder)  # offsets may have moved; the graph is what counts
    bundle = load_bundle(folder)
    assert parts.kernel is not None
    assert bundle.kernel is None
    assert engine_of(bundle) is None


@pytest.mark.parametrize(
    ("kind", "layer", "change"),
    [
        ("ngrams", "attention", {"scale": 5.0}),
        ("ngrams", "attention", {"longest": 2}),
        ("hybrid", "ngrams", {"longest": 2}),
        ("hybrid", "join", {"share": 0.4}),
    ],
)
def test_nor_is_one_whose_ngrams_differ(
    folders: dict[str, Path], tmp_path: Path, kind: str, layer: str, change: dict[str, Any]
) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    change_architecture(folder, lambda each: layer_named(each, layer).update(change))
    assert load_bundle(folder).kernel is None


def test_a_card_without_types_means_float32(folder: Path) -> None:
    def forget(card: dict[str, Any]) -> None:
        for each in card["kernel"].values():
            del each["dtype"]

    seal(folder, forget)
    assert engine_of(read_bundle_parts(folder)) is not None


def test_a_probe_that_differs_is_a_reason_not_to_take_over(folder: Path) -> None:
    probe = json.loads((folder / "probe.json").read_text())
    probe["texts"][0]["logits"][0] += 1e-3
    (folder / "probe.json").write_text(json.dumps(probe))
    seal(folder)
    assert engine_of(load_bundle(folder)) is None


def test_it_needs_kernels_and_wide_vectors(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(folders["lstm"])
    native.use(False)
    try:
        assert engine_of(bundle) is None
    finally:
        native.use(True)
    with monkeypatch.context() as patch:
        patch.setattr(module, "lanes", lambda: 0)
        assert engine_of(bundle) is None
    assert engine_of(bundle) is not None


def test_ngrams_need_no_wide_vectors(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST_LANES", 1 << 10)
    parts = {kind: read_bundle_parts(folders[kind]) for kind in ("ngrams", "hybrid")}
    assert {kind: engine_of(each) is not None for kind, each in parts.items()} == {"ngrams": True, "hybrid": False}
