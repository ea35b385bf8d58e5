"""Bundles with a model for ONNX Runtime: what is in them, what is refused, and that Keras is not there."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import models.bundle.store
from models.bundle.onnx.bundle import OnnxBundle, load_onnx_bundle
from models.bundle.store import Bundle, BundleError, export_bundle, load_bundle, read_card
from tests.models.bundle.forged_bundle import seal
from tests.tiny_bundle import HYBRID, NGRAMS_ALONE, SENTENCES, build_tiny_bundle


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_bundle(tmp_path_factory.mktemp("saved"), encoder="bilstm", onnx=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as they were before ONNX."""
    return build_tiny_bundle(tmp_path_factory.mktemp("plain"), encoder="bigru")


@pytest.fixture
def bundle(saved: Path, tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return shutil.copytree(saved, tmp_path / "default")


def answers(bundle: Bundle | OnnxBundle) -> dict[str, np.ndarray]:
    encodings = [bundle.tokenizer.encode(text, bundle.card.max_tokens).ids for text in SENTENCES]
    ids = np.zeros((len(encodings), max(map(len, encodings))), "int32")
    for row, encoding in zip(ids, encodings, strict=True):
        row[: len(encoding)] = encoding
    return {name: np.asarray(output) for name, output in bundle.model(ids).items()}


def test_both_models_of_a_bundle_say_the_same(saved: Path) -> None:
    keras_bundle, onnx_bundle = load_bundle(saved), load_onnx_bundle(saved)
    assert onnx_bundle.card == keras_bundle.card
    assert onnx_bundle.tokenizer.words == keras_bundle.tokenizer.words
    expected, received = answers(keras_bundle), answers(onnx_bundle)
    assert received.keys() == expected.keys() == {"logits", "attention", "contributions"}
    for name, output in expected.items():
        np.testing.assert_allclose(received[name], output, atol=1e-5)
    for target in (0, 1):
        assert onnx_bundle.base_log_odds(target) == pytest.approx(keras_bundle.base_log_odds(target), abs=1e-7)


def test_a_model_without_contributions_has_no_base(tmp_path: Path) -> None:
    bundle = load_onnx_bundle(build_tiny_bundle(tmp_path, mechanism="keras_multi_head_attention", onnx=True))
    assert bundle.base_log_odds(1) is None
    assert answers(bundle).keys() == {"logits", "attention"}


def test_neither_keras_nor_a_backend_is_imported(saved: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from models.bundle.onnx.bundle import load_onnx_bundle\n"
        "load_onnx_bundle(pathlib.Path(sys.argv[1]))\n"
        "print(sorted({'keras', 'tensorflow', 'jax', 'torch', 'h5py', 'onnx', 'tf2onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, saved], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_export_adds_two_files_and_changes_no_other(plain: Path, tmp_path: Path) -> None:
    place = shutil.copytree(plain, tmp_path / "default")
    before = read_card(place)
    after = export_bundle(place)
    assert after == read_card(place) == load_onnx_bundle(place).card
    assert set(after.files) - set(before.files) == {"model.onnx", "probe.json"}
    assert before.files.items() <= after.files.items()
    unlike = {"version", "files"}
    assert after.model_dump(exclude=unlike) == before.model_dump(exclude=unlike)
    assert after.version != before.version
    assert export_bundle(place) == after


def test_an_export_keeps_a_graph_that_agrees_and_replaces_one_that_does_not(bundle: Path) -> None:
    before = read_card(bundle)
    assert export_bundle(bundle) == before
    change_graph(bundle, scale_weights)
    spoilt = read_card(bundle).files["model.onnx"]
    assert export_bundle(bundle).files["model.onnx"] != spoilt
    load_onnx_bundle(bundle)


def test_a_failed_export_leaves_the_bundle_alone(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = shutil.copytree(plain, tmp_path / "default")
    monkeypatch.setattr(models.bundle.store, "_add_onnx", lambda *_: "it is made of wood")
    with pytest.raises(BundleError, match="default: cannot be exported to ONNX: it is made of wood"):
        export_bundle(place)
    assert read_card(place) == read_card(plain)
    assert [each.name for each in tmp_path.iterdir()] == ["default"]


def test_a_bundle_that_cannot_be_exported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "models.bundle.onnx.export", raising=False)
    place = build_tiny_bundle(tmp_path, onnx=True)
    card = load_bundle(place).card
    assert "model.onnx" not in card.files
    assert card.without_onnx is not None
    assert "pip install 'heed[train]'" in card.without_onnx
    with pytest.raises(BundleError, match=r"expected model\.onnx.*When it was saved: the packages that export"):
        load_onnx_bundle(place)


def test_a_bundle_without_the_model_says_what_to_do(plain: Path) -> None:
    with pytest.raises(BundleError, match=r"expected model\.onnx.*python -m training export .*HEED_ENGINE=keras"):
        load_onnx_bundle(plain)


def change_graph(bundle: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    """Let `change` edit the graph, and seal the bundle."""
    graph = onnx.load(bundle / "model.onnx", load_external_data=False)
    change(graph)
    (bundle / "model.onnx").write_bytes(graph.SerializeToString())
    seal(bundle)


def change_probe(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    probe = json.loads((bundle / "probe.json").read_text())
    change(probe)
    (bundle / "probe.json").write_text(json.dumps(probe))
    seal(bundle)


def scale_weights(graph: onnx.ModelProto) -> None:
    weight = next(each for each in graph.graph.initializer if each.name == "encoder/W")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))


def test_a_changed_byte_is_refused(bundle: Path) -> None:
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(content)
    for load in (load_bundle, load_onnx_bundle):
        with pytest.raises(BundleError, match=r"model\.onnx: expected SHA-256"):
            load(bundle)


def test_a_graph_of_other_weights_is_refused_whatever_its_hash(bundle: Path) -> None:
    change_graph(bundle, scale_weights)
    with pytest.raises(BundleError, match=r"model\.onnx: expected logits within 0\.0001 of those of Keras"):
        load_onnx_bundle(bundle)


def test_a_graph_that_is_none_is_refused(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"\x00graph")
    seal(bundle)
    with pytest.raises(BundleError, match=r"model\.onnx: cannot be loaded: Expected a graph that ONNX Runtime runs"):
        load_onnx_bundle(bundle)


@pytest.mark.parametrize("location", ["/etc/hostname", "../other", "tokenizer.json"])
def test_a_graph_reads_no_file_but_its_own(bundle: Path, location: str) -> None:
    def point_elsewhere(graph: onnx.ModelProto) -> None:
        weight = next(each for each in graph.graph.initializer if each.name == "encoder/W")
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)

    (bundle.parent / "other").write_bytes(bytes(1 << 20))
    change_graph(bundle, point_elsewhere)
    with pytest.raises(BundleError, match=r"model\.onnx: cannot be loaded: .*(not found|escapes|bsolute)"):
        load_onnx_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda probe: probe["texts"].clear(), "expected a text with at least one token"),
        (lambda probe: probe.update(note="hello"), "note: Extra inputs are not permitted"),
        (lambda probe: probe.update(bases=None), "expected False texts with contributions"),
        (lambda probe: probe["texts"][0]["ids"].__setitem__(-1, 10**6), "ids of the probe"),
        (lambda probe: probe["texts"][0]["ids"].__setitem__(-1, 2), "off by|ids of the probe"),
        (lambda probe: probe["texts"][1]["attention"].__setitem__(0, 0.5), "expected attention within"),
        (lambda probe: probe["texts"][1]["logits"].append(0.5), "expected logits of shape"),
    ],
    ids=["empty", "more", "no-base", "beyond", "other-text", "other-weight", "other-labels"],
)
def test_a_probe_that_does_not_fit_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    change_probe(bundle, change)
    with pytest.raises(BundleError, match=message):
        load_onnx_bundle(bundle)


def test_another_vocabulary_is_refused(bundle: Path) -> None:
    words = [f"word{number}" for number in range(500)]
    (bundle / "tokenizer.json").write_text(json.dumps({"type": "words", "words": words}))
    seal(bundle, lambda card: card["config"].update(vocabulary_size=502))
    with pytest.raises(BundleError, match="the parts do not fit: expected 502 ids of the probe"):
        load_onnx_bundle(bundle)


def test_large_weights_lie_in_the_keras_archive_alone(tmp_path: Path) -> None:
    """The bundles that come with the project have an embedding of 5 to 15 MB; the graph beside it holds none of it."""
    default = Path(models.bundle.store.__file__).parents[1] / "saved" / "default"
    graph = onnx.load(default / "model.onnx", load_external_data=False)
    shared = [each for each in graph.graph.initializer if each.external_data]
    assert [tuple(each.dims) for each in shared] == [(30002, 128)]
    assert (default / "model.onnx").stat().st_size < 1 << 20
    assert answers(load_onnx_bundle(default))["logits"].shape == (4, 2)


@pytest.mark.parametrize("options", [NGRAMS_ALONE, HYBRID], ids=["ngrams", "hybrid"])
def test_tables_of_ngrams_lie_there_in_8_bits(tmp_path: Path, options: dict[str, Any]) -> None:
    place = build_tiny_bundle(tmp_path, onnx=True, **(options | {"labels": ("bad", "fair", "good")}))
    graph = onnx.load(place / "model.onnx", load_external_data=False)
    shared = {(each.data_type, tuple(each.dims)) for each in graph.graph.initializer if each.external_data}
    assert shared == {(onnx.TensorProto.UINT8, (1 << 16,)), (onnx.TensorProto.INT8, (1 << 16, 3))}
    keras_bundle, onnx_bundle = load_bundle(place), load_onnx_bundle(place)
    expected, received = answers(keras_bundle), answers(onnx_bundle)
    for name, output in expected.items():
        np.testing.assert_allclose(received[name], output, atol=1e-5)
