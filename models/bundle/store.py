"""The format on disk: a bundle is a folder that says all about one trained classifier.

    bundle.json     the card: what it is, how it was made, how good it is, the SHA-256 of every other file
    model.keras     architecture and weights
    model.onnx      the same model for ONNX Runtime, where ONNX can say it; its large weights lie in model.keras
    probe.json      a few texts with what Keras says of them, to check the other by
    tokenizer.json  the vocabulary
    report/         pictures and tables of the training run

A bundle is written beside its place and moved into it in one step, so a crash leaves the old one or the new one.
What is read without Keras is in `models.bundle.card`, `models.bundle.parts` and `models.bundle.onnx.bundle`.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from models.bundle.archive import check_model_archive
from models.bundle.card import CARD_FILE, FORMAT_VERSION, BundleCard, read_card, write_card
from models.bundle.parts import (
    MODEL_FILE,
    ONNX_FILE,
    PROBE_FILE,
    REPORT_FOLDER,
    TOKENIZER_FILE,
    BundleParts,
    check_config,
    check_fit,
    read_verified,
)
from models.bundle.replacement import replace_folder
from models.bundle.verification import BundleError
from models.classifier import EMBEDDING, HEAD, without_cudnn
from models.config import ClassifierConfig
from models.layers import CUSTOM_OBJECTS, LinearHead
from models.mechanisms import MECHANISMS
from models.tokenizer import Tokenizer

_LIBRARIES = ("keras", "numpy", "regex")

__all__ = ["Bundle", "BundleCard", "BundleError", "export_bundle", "load_bundle", "read_card", "save_bundle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(BundleParts):
    """A loaded classifier: `model` maps ids to outputs as `build_classifier` says."""

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
    report: Path | None = None,
    onnx: bool = True,
) -> BundleCard:
    """Write a bundle to the folder `path`, in place of what bundle is there.

    Args:
        path: the bundle's folder; its name is the bundle's unless `name` is given.
        report: a folder whose files become `report/`.
        onnx: whether to write the model for ONNX Runtime too; where it cannot be, the card's `without_onnx` says why.

    Raises:
        BundleError: `path` holds something that is no bundle, or the parts do not fit each other.
    """
    path = path.resolve()
    if path.exists() and not (path / CARD_FILE).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path}: a bundle is written to a new, an empty or a bundle's folder. Found other things.")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = MECHANISMS[config.mechanism]
    with _folder_beside(path) as partial:
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
            "libraries": {library: version(library) for library in _LIBRARIES} | {"backend": keras.backend.backend()},
            "without_onnx": None,
        }
        card = write_card(partial, values, place=path)
        _check_model(partial, card, tokenizer, model)
        if onnx:
            values["without_onnx"] = _add_onnx(partial, model, tokenizer, max_tokens)
            card = write_card(partial, values, place=path)
        replace_folder(partial, path)
    return card


def load_bundle(path: Path) -> Bundle:
    """Load the bundle in folder `path`, once everything in it is verified.

    Raises:
        BundleError: a hash differs, a path climbs out, a size passes its cap, a class is neither Keras' own nor one of
            `CUSTOM_OBJECTS`, or the parts do not fit each other; the message says which and why.
    """
    card, tokenizer = read_verified(path)
    check_model_archive(path / MODEL_FILE)
    try:
        model = keras.saving.load_model(path / MODEL_FILE, custom_objects=CUSTOM_OBJECTS, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the reading of a part raised
        raise BundleError(f"{path / MODEL_FILE}: cannot be loaded: {type(error).__name__}: {error}") from error
    _check_model(path, card, tokenizer, model)
    return Bundle(path=path, card=card, tokenizer=tokenizer, bases=_bases(model), model=without_cudnn(model))


def export_bundle(path: Path) -> BundleCard:
    """Add `model.onnx` and its probe to the bundle in folder `path`, or make them anew; all else stays as it is.

    Raises:
        BundleError: the bundle is refused, or its model cannot be exported.
    """
    bundle = load_bundle(path)
    path = path.resolve()
    with _folder_beside(path) as partial:
        for name in bundle.card.files.keys() - {ONNX_FILE, PROBE_FILE}:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path / name, partial / name)
        if why := _add_onnx(partial, bundle.model, bundle.tokenizer, bundle.card.max_tokens):
            raise BundleError(f"{path}: cannot be exported to ONNX: {why}")
        values = bundle.card.model_dump(mode="json", exclude={"version", "files"}) | {"without_onnx": None}
        card = write_card(partial, values, place=path)
        replace_folder(partial, path)
    return card


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """An empty folder on the file system of `path`, gone afterwards unless it was moved."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as scratch:
        partial = Path(scratch) / "bundle"
        partial.mkdir()
        yield partial


def _add_onnx(folder: Path, model: keras.Model, tokenizer: Tokenizer, max_tokens: int) -> str | None:
    """Write the model for ONNX Runtime beside that for Keras, and its probe; why not, where that cannot be."""
    try:
        from models.bundle.onnx.export import ExportError, write_onnx
    except ImportError as error:
        return f"the packages that export are not installed ({error}): pip install 'heed[train]'."
    try:
        write_onnx(folder, model, vocabulary_size=tokenizer.vocabulary_size, max_tokens=max_tokens, bases=_bases(model))
    except ExportError as error:
        return str(error)
    return None


def _bases(model: keras.Model) -> tuple[float, ...] | None:
    if "contributions" not in model.output:
        return None
    head = model.get_layer(HEAD)
    return tuple(head.base(target) for target in range(head.labels))


def _check_model(path: Path, card: BundleCard, tokenizer: Tokenizer, model: keras.Model) -> None:
    """Refuse a model that is sound by itself but is not of this card and this vocabulary."""
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
    check_fit(path, ("labels of the model", len(card.labels), outputs["logits"].shape[-1]))
    if not reads_ids:
        check_fit(path, ("ids of the model", tokenizer.vocabulary_size, layers[EMBEDDING].input_dim))
    check_config(path, card, tokenizer)
