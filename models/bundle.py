"""The format on disk: a bundle is a folder that says all about one trained classifier.

    bundle.json     the card: what it is, how it was made, how good it is, the SHA-256 of every other file
    model.keras     architecture and weights
    tokenizer.json  the vocabulary
    report/         pictures and tables of the training run

A bundle is written beside its place and moved into it in one step, so a crash leaves the old one or the new one.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import keras
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.classifier import EMBEDDING, HEAD, without_cudnn
from models.config import ClassifierConfig
from models.inspection import BundleError, check_files, check_model_archive
from models.layers import CUSTOM_OBJECTS, LinearHead
from models.mechanisms import MECHANISMS
from models.replacement import replace_folder
from models.tokenizer import Tokenizer

FORMAT_VERSION = 1
CARD_FILE = "bundle.json"
MODEL_FILE = "model.keras"
TOKENIZER_FILE = "tokenizer.json"
REPORT_FOLDER = "report"

_CARD_BYTES = 1 << 20
_LIBRARIES = ("keras", "numpy", "regex")

__all__ = ["Bundle", "BundleCard", "BundleError", "load_bundle", "read_card", "save_bundle"]


class BundleCard(BaseModel):
    """What `bundle.json` holds. `version` is a short hash of everything else, the other files' hashes included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^[0-9a-f]{12}$")
    labels: tuple[str, ...] = Field(min_length=2)
    max_tokens: int = Field(ge=1, le=65536)
    temperature: float = Field(gt=0, allow_inf_nan=False)
    mechanism: str
    attention_is: Literal["exact", "approximate"]
    token_weight_rule: str
    config: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    faithfulness: dict[str, Any]
    libraries: dict[str, str]
    files: dict[str, str]

    @model_validator(mode="after")
    def _labels_differ(self) -> "BundleCard":
        if len(set(self.labels)) != len(self.labels) or "" in self.labels:
            raise ValueError(f"Expected different, non-empty labels. Received {self.labels}.")
        return self


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded classifier: `model` maps ids to outputs as `build_classifier` says."""

    path: Path
    card: BundleCard
    model: keras.Model
    tokenizer: Tokenizer

    def base_log_odds(self, target: int) -> float | None:
        """Calibrated log-odds of label `target` before any token is read; None where contributions are not exact.

        base_log_odds(target) + sum(contributions) / temperature = ln p(target) - mean of ln p(every other label).
        """
        if "contributions" not in self.model.output:
            return None
        base: float = self.model.get_layer(HEAD).base(target) / self.card.temperature
        return base


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
) -> BundleCard:
    """Write a bundle to the folder `path`, in place of what bundle is there.

    Args:
        path: the bundle's folder; its name is the bundle's unless `name` is given.
        report: a folder whose files become `report/`.

    Raises:
        BundleError: `path` holds something that is no bundle, or the parts do not fit each other.
    """
    path = path.resolve()
    if path.exists() and not (path / CARD_FILE).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path}: a bundle is written to a new, an empty or a bundle's folder. Found other things.")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = MECHANISMS[config.mechanism]
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as scratch:
        partial = Path(scratch) / "bundle"
        partial.mkdir()
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
            "files": {
                file.relative_to(partial).as_posix(): _sha256(file)
                for file in sorted(partial.rglob("*"))
                if file.is_file()
            },
        }
        try:
            card = _sealed(values)
            document = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n"
        except ValidationError as error:
            raise BundleError(f"{path}: cannot be saved: {_first_fault(error)}") from error
        except (TypeError, ValueError) as error:
            raise BundleError(f"{path}: cannot be saved: expected plain values in the card. {error}.") from error
        (partial / CARD_FILE).write_bytes(document)
        _check_parts(partial, card, tokenizer, model)
        replace_folder(partial, path)
    return card


def read_card(path: Path) -> BundleCard:
    """The card of the bundle in folder `path`, without loading its model.

    Raises:
        BundleError: there is no card, or it is not one that this version reads.
    """
    file = path / CARD_FILE
    try:
        with file.open("rb") as stream:
            document = stream.read(_CARD_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{file}: expected a readable card. {error.strerror or error}.") from error
    if len(document) > _CARD_BYTES:
        raise BundleError(f"{file}: expected at most {_CARD_BYTES} bytes. The file is larger.")
    try:
        values = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: expected JSON. {error}.") from error
    found = values.get("format_version") if isinstance(values, dict) else None
    if found != FORMAT_VERSION:
        raise BundleError(f"{file}: expected format_version {FORMAT_VERSION}. Received {found!r}.")
    try:
        card = BundleCard.model_validate(values)
    except ValidationError as error:
        raise BundleError(f"{file}: {_first_fault(error)}") from error
    if card.version != _version({key: value for key, value in values.items() if key != "version"}):
        raise BundleError(f"{file}: its version {card.version} is not the hash of its contents: it was changed.")
    return card


def load_bundle(path: Path) -> Bundle:
    """Load the bundle in folder `path`, once everything in it is verified.

    Raises:
        BundleError: a hash differs, a path climbs out, a size passes its cap, a class is neither Keras' own nor one of
            `CUSTOM_OBJECTS`, or the parts do not fit each other; the message says which and why.
    """
    card = read_card(path)
    for required in (MODEL_FILE, TOKENIZER_FILE):
        if required not in card.files:
            raise BundleError(
                f"{path / CARD_FILE}: expected {required} among its files. Received {sorted(card.files)}."
            )
    check_files(path, card.files)
    check_model_archive(path / MODEL_FILE)
    try:
        tokenizer = Tokenizer.from_json((path / TOKENIZER_FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path / TOKENIZER_FILE}: {error}") from error
    try:
        model = keras.saving.load_model(path / MODEL_FILE, custom_objects=CUSTOM_OBJECTS, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the reading of a part raised
        raise BundleError(f"{path / MODEL_FILE}: cannot be loaded: {type(error).__name__}: {error}") from error
    _check_parts(path, card, tokenizer, model)
    return Bundle(path, card, without_cudnn(model), tokenizer)


def _check_parts(path: Path, card: BundleCard, tokenizer: Tokenizer, model: keras.Model) -> None:
    """Refuse parts that are sound each by itself but do not belong together."""
    if not isinstance(model, keras.Model):
        raise BundleError(f"{path / MODEL_FILE}: expected a model. Received a {type(model).__name__}.")
    outputs = model.output if isinstance(model.output, dict) else {}
    if not {"logits", "attention"} <= set(outputs):
        raise BundleError(
            f"{path / MODEL_FILE}: expected outputs 'logits' and 'attention'. Received {sorted(outputs)}."
        )
    layers = {layer.name: layer for layer in model.layers}
    for name, expected_class in ((EMBEDDING, keras.layers.Embedding), (HEAD, LinearHead)):
        if name == HEAD and "contributions" not in outputs:
            continue
        if not isinstance(layers.get(name), expected_class):
            raise BundleError(
                f"{path / MODEL_FILE}: expected a layer {name!r}, a {expected_class.__name__}. "
                f"Received {type(layers[name]).__name__ if name in layers else 'no layer of that name'}."
            )
    for what, expected, received in (
        ("labels of the model", len(card.labels), outputs["logits"].shape[-1]),
        ("ids of the model", tokenizer.vocabulary_size, layers[EMBEDDING].input_dim),
        ("labels in config", len(card.labels), card.config.get("labels")),
        ("ids in config", tokenizer.vocabulary_size, card.config.get("vocabulary_size")),
    ):
        if expected != received:
            raise BundleError(f"{path}: the parts do not fit: expected {expected} {what}. Received {received}.")


def _sealed(values: Mapping[str, Any]) -> BundleCard:
    """The card of `values` with the hash of its contents, just as it is once it was written and read again.

    The hash is of what JSON makes of the values: 1 of a float is 1.0, a number as a key is a string, NaN is null.
    """
    contents = BundleCard(**values, version="0" * 12).model_dump(mode="json", exclude={"version"})
    return BundleCard(**contents, version=_version(contents))


def _version(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = "/".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}. Received {fault['input']!r:.100}."
