"""Save, load and export bundles. A bundle is a folder with one trained classifier:

    bundle.json     the card: what it is, how it was made, how good it is, the SHA-256 of every other file
    model.keras     architecture and weights
    model.onnx      the same model for ONNX Runtime, where ONNX can express it; its large weights are in model.keras
    probe.json      a few texts with Keras' outputs, to check kernels and ONNX Runtime by
    tokenizer.json  the vocabulary
    report/         a page about the training run
    looks.jsonl     a log of looks at a published test part, if there were any; no hash covers it

A bundle is written beside its place and moved into it in one step, so that a crash leaves the old one or the new one.
`models.bundle.parts` and `models.bundle.onnx.bundle` read bundles without Keras.
"""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.bundle.archive import check_model_archive
from models.bundle.card import FORMAT_VERSION, BundleCard, read_card, write_card
from models.bundle.graph import index_weights, kernel_weights
from models.bundle.parts import (
    MODEL_FILE,
    ONNX_FILE,
    REPORT_FOLDER,
    TOKENIZER_FILE,
    BundleParts,
    check_fit,
    read_bundle_parts,
)
from models.bundle.probe import PROBE_FILE, Probe, make_probe, read_probe
from models.bundle.replacement import check_place, copy_files, folder_beside, replace_folder
from models.bundle.verification import BundleError
from models.bundle.weights import read_weights
from models.classifier import EMBEDDING, HEAD, without_cudnn
from models.config import ClassifierConfig
from models.layers import CUSTOM_OBJECTS, LinearHead
from models.mechanisms import MECHANISMS
from models.tokenizer import Tokenizer

_LIBRARIES = ("keras", "numpy", "regex")

__all__ = ["Bundle", "BundleCard", "BundleError", "export_bundle", "load_bundle", "read_card", "save_bundle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(BundleParts):
    """A loaded classifier: `model` maps ids to outputs, as in `build_classifier`."""

    model: keras.Model


def save_bundle(
    path: Path,
    *,
    model: keras.Model,
    tokenizer: Tokenizer,
    config: ClassifierConfig,
    labels: tuple[str, ...],
    max_tokens: int,
    temperature: float = 1.0,
    name: str | None = None,
    data: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    faithfulness: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    report: Path | None = None,
    onnx: bool = True,
) -> BundleCard:
    """Write a bundle to the folder `path`, in place of a bundle that is there.

    Args:
        path: the bundle's folder; its name is the bundle's unless `name` is given.
        report: a folder whose files become `report/`.
        onnx: whether to write the model for ONNX Runtime too; where that fails, the card's `without_onnx` says why.

    Raises:
        BundleError: `path` holds something else than a bundle, or the parts do not fit each other.
    """
    path = path.resolve()
    check_place(path, replace=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = MECHANISMS[config.mechanism]
    with folder_beside(path) as partial:
        model.save(partial / MODEL_FILE)
        (partial / TOKENIZER_FILE).write_text(tokenizer.to_json(), encoding="utf-8")
        if report is not None:
            shutil.copytree(report, partial / REPORT_FOLDER)
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "name": name or path.name,
            "labels": labels,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "mechanism": config.mechanism,
            "attention_is": facts.attention_is,
            "token_weight_rule": facts.token_weight_rule,
            "config": config.to_dict(),
            "data": dict(data or {}),
            "training": dict(training or {}),
            "metrics": dict(metrics or {}),
            "faithfulness": dict(faithfulness or {}),
            "warnings": tuple(warnings),
            "libraries": {library: version(library) for library in _LIBRARIES} | {"backend": keras.backend.backend()},
        }
        card = write_card(partial, values, place=path)
        _check_model(partial, card, tokenizer, model)
        card = _add_engines(partial, values, model, place=path, onnx=onnx)
        replace_folder(partial, path)
    return card


def load_bundle(path: Path) -> Bundle:
    """Load the bundle in folder `path`, after everything in it is verified.

    Raises:
        BundleError: a hash differs, a path leads out of the folder, a file is too large, a class is neither Keras' own
            nor one of `CUSTOM_OBJECTS`, or the parts do not fit each other; the message says which and why.
    """
    parts = read_bundle_parts(path)
    check_model_archive(path / MODEL_FILE)
    try:
        model = keras.saving.load_model(path / MODEL_FILE, custom_objects=CUSTOM_OBJECTS, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the reading of a part raised
        raise BundleError(f"{path / MODEL_FILE}: cannot be loaded: {type(error).__name__}: {error}") from error
    _check_model(path, parts.card, parts.tokenizer, model)
    return Bundle(
        path=path,
        card=parts.card,
        tokenizer=parts.tokenizer,
        bases=_bases(model),
        probe=parts.probe,
        kernel=parts.kernel if _may_use_kernel(parts, model) else None,
        model=without_cudnn(model),
    )


def export_bundle(path: Path) -> BundleCard:
    """Add to the bundle in folder `path` what other engines than Keras need; nothing else changes but the version.

    A `model.onnx` whose outputs still agree with Keras is kept.

    Raises:
        BundleError: the bundle is refused, or its model cannot be exported.
    """
    bundle = load_bundle(path)
    path = path.resolve()
    with folder_beside(path) as partial:
        copy_files(path, partial, bundle.card.files)
        values = bundle.card.model_dump(mode="json", exclude={"version", "files"})
        card = _add_engines(partial, values, bundle.model, place=path, onnx=True)
        if card.without_onnx:
            raise BundleError(f"{path}: cannot be exported to ONNX: {card.without_onnx}")
        replace_folder(partial, path)
    return card


def _add_engines(folder: Path, values: dict[str, Any], model: keras.Model, *, place: Path, onnx: bool) -> BundleCard:
    """Write what other engines need into the bundle in the making, and its card: the index of its weights for kernels,
    the model for ONNX Runtime, and the probe that both are checked by."""
    weights = _kernel_weights(model, values["config"])
    index = None if weights is None else index_weights(folder / MODEL_FILE, weights)
    values["kernel"] = values["without_onnx"] = None
    if onnx or index is not None:
        if probe := _write_probe(folder, model, values["config"]["vocabulary_size"], values["max_tokens"]):
            values["kernel"] = index
            values["without_onnx"] = _add_onnx(folder, model, probe) if onnx else None
        elif onnx:
            values["without_onnx"] = "its outputs are not all finite."
    return write_card(folder, values, place=place)


def _write_probe(folder: Path, model: keras.Model, vocabulary_size: int, max_tokens: int) -> Probe | None:
    """Write the probe, unless the one that is there still agrees with Keras; None if an output is not finite."""

    def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
        outputs = model(ids, training=False)
        return {name: keras.ops.convert_to_numpy(output) for name, output in outputs.items()}

    bases = _bases(model)
    if (folder / PROBE_FILE).is_file():
        old = read_probe(folder)
        if old.difference(forward(old.padded())) is None:
            return old
    probe = make_probe(forward, vocabulary_size=vocabulary_size, max_tokens=max_tokens, bases=bases)
    if probe is not None:
        (folder / PROBE_FILE).write_text(probe.model_dump_json() + "\n", encoding="utf-8")
    return probe


def _add_onnx(folder: Path, model: keras.Model, probe: Probe) -> str | None:
    """Write the model for ONNX Runtime, unless the one that is there agrees with the probe; return why that failed."""
    try:
        from models.bundle.onnx.bundle import OnnxModel
        from models.bundle.onnx.export import ExportError, write_onnx
    except ImportError as error:
        return f"the packages that export are not installed ({error}): pip install 'heed[train]'."
    if (folder / ONNX_FILE).is_file():
        files = {MODEL_FILE: (folder / MODEL_FILE).read_bytes()}
        with suppress(Exception):  # a graph that cannot be run is written anew
            if probe.difference(OnnxModel((folder / ONNX_FILE).read_bytes(), files)(probe.padded())) is None:
                return None
    try:
        write_onnx(folder, model, probe)
    except ExportError as error:
        return str(error)
    return None


def _kernel_weights(model: keras.Model, config: dict[str, Any]) -> dict[str, np.ndarray] | None:
    try:
        return kernel_weights(model, ClassifierConfig.from_dict(config))
    except (ValueError, TypeError):  # of a card that describes no classifier
        return None


def _may_use_kernel(parts: BundleParts, model: keras.Model) -> bool:
    """Whether a kernel computes the loaded model from the weights that the card names: a card may say anything."""
    if parts.kernel is None:
        return False
    expected = _kernel_weights(model, parts.card.config)
    try:
        received = read_weights(parts.path / MODEL_FILE, parts.kernel)
    except BundleError:
        return False
    return (
        expected is not None
        and expected.keys() == received.keys()
        and all(np.array_equal(expected[name], received[name], equal_nan=True) for name in expected)
    )


def _bases(model: keras.Model) -> tuple[float, ...] | None:
    if "contributions" not in model.output:
        return None
    head = model.get_layer(HEAD)
    return tuple(head.base(target) for target in range(head.labels))


def _check_model(path: Path, card: BundleCard, tokenizer: Tokenizer, model: keras.Model) -> None:
    """Refuse a model that is valid by itself but does not belong to this card and this vocabulary."""
    if not isinstance(model, keras.Model):
        raise BundleError(f"{path / MODEL_FILE}: expected a model. Received a {type(model).__name__}.")
    outputs = model.output if isinstance(model.output, dict) else {}
    if not {"logits", "attention"} <= set(outputs):
        raise BundleError(
            f"{path / MODEL_FILE}: expected outputs 'logits' and 'attention'. Received {sorted(outputs)}."
        )
    layers = {layer.name: layer for layer in model.layers}
    reads_ids = card.mechanism in MECHANISMS and MECHANISMS[card.mechanism].reads_ids
    for name, expected_class in ((EMBEDDING, keras.layers.Embedding), (HEAD, LinearHead)):
        if (name == HEAD and "contributions" not in outputs) or (name == EMBEDDING and reads_ids):
            continue
        if not isinstance(layers.get(name), expected_class):
            raise BundleError(
                f"{path / MODEL_FILE}: expected a layer {name!r}, a {expected_class.__name__}. "
                f"Received {type(layers[name]).__name__ if name in layers else 'no layer of that name'}."
            )
    check_fit(
        path,
        ("labels of the model", len(card.labels), outputs["logits"].shape[-1]),
        ("labels in config", len(card.labels), card.config.get("labels")),
        ("ids in config", tokenizer.vocabulary_size, card.config.get("vocabulary_size")),
    )
    if not reads_ids:
        check_fit(path, ("ids of the model", tokenizer.vocabulary_size, layers[EMBEDDING].input_dim))
