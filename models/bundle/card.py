"""The card of a bundle, `bundle.json`: everything about a classifier except its weights and its vocabulary."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.bundle.looks import LOOKS_FILE
from models.bundle.verification import BundleError, file_hash

FORMAT_VERSION = 1
CARD_FILE = "bundle.json"

_CARD_BYTES = 1 << 20


class WeightPlace(BaseModel):
    """The place of a weight in `model.keras`: little-endian, uncompressed, in one piece.

    Attributes:
        offset: of the first byte, from the beginning of the file.
        shape: of the array, in C order.
        dtype: float32, or the type of codes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: int = Field(ge=0, le=1 << 40)
    shape: tuple[Annotated[int, Field(ge=1, le=1 << 31)], ...] = Field(min_length=1, max_length=2)
    dtype: Literal["float32", "uint8", "int8"] = "float32"


class BundleCard(BaseModel):
    """The contents of `bundle.json`. `version` is a short hash of everything else, including the files' hashes."""

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
    robustness: dict[str, Any] = Field(default_factory=dict)
    """Figures of `python -m training probe --save`; empty if nobody measured them, and in older bundles."""
    libraries: dict[str, str]
    files: dict[str, str]
    without_onnx: str | None = None
    """Why there is no `model.onnx`; None where there is one, or the bundle is older than the format's support of it."""
    kernel: dict[str, WeightPlace] | None = None
    """The weights from which a kernel computes the model, by the names of `models.native`. None where no kernel
    knows its architecture, or the bundle is older than such kernels."""
    warnings: tuple[str, ...] = ()
    """Problems found by training, one sentence each; empty in older bundles."""

    @model_validator(mode="after")
    def _labels_differ(self) -> "BundleCard":
        if len(set(self.labels)) != len(self.labels) or "" in self.labels:
            raise ValueError(f"Expected different, non-empty labels. Received {self.labels}.")
        return self

    @property
    def measured_on(self) -> Literal["test", "validation"]:
        """Return the part of the data that the figures of training are of; its metrics are under this name."""
        return measured_part(self.metrics)

    @property
    def attention_above_chance(self) -> bool | None:
        """Return whether the weights explain predictions better than random ones; None if nobody measured it."""
        measured = self.faithfulness.get("above_chance")
        found = measured.get("attention") if isinstance(measured, dict) else None
        return found if isinstance(found, bool) else None


def measured_part(metrics: Mapping[str, Any]) -> Literal["test", "validation"]:
    """Return the part that the baselines among `metrics` are of: test, or validation where no test part is measured."""
    return "test" if "test" in metrics else "validation"


def read_card(path: Path) -> BundleCard:
    """Read the card of the bundle in folder `path`, without loading its model.

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
        raise BundleError(f"{file}: {first_fault(error)}") from error
    if card.version != _version_of({key: value for key, value in values.items() if key != "version"}):
        raise BundleError(f"{file}: its version {card.version} is not the hash of its contents: it was changed.")
    return card


def write_card(folder: Path, values: Mapping[str, Any], *, place: Path) -> BundleCard:
    """Write the card of the bundle in `folder`: `values`, and the hash of every file that is there.

    Args:
        values: everything except `version` and `files`, as plain values.
        place: where the bundle will be; errors name it.

    Raises:
        BundleError: the card could not be read again.
    """
    files = {
        file.relative_to(folder).as_posix(): file_hash(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file not in (folder / CARD_FILE, folder / LOOKS_FILE)
    }
    try:
        card = _sealed({**values, "files": files})
        document = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n"
    except ValidationError as error:
        raise BundleError(f"{place}: cannot be saved: {first_fault(error)}") from error
    except (TypeError, ValueError) as error:
        raise BundleError(f"{place}: cannot be saved: expected plain values in the card. {error}.") from error
    (folder / CARD_FILE).write_bytes(document)
    return card


def _sealed(values: Mapping[str, Any]) -> BundleCard:
    """Return the card of `values` with its version, exactly as it will be read again.

    The hash is of the values as JSON has them: a float 1 is 1.0, a number as a key is a string, NaN is null.
    """
    contents = BundleCard(**values, version="0" * 12).model_dump(mode="json", exclude={"version"})
    return BundleCard(**contents, version=_version_of(contents))


def first_fault(error: ValidationError) -> str:
    """Describe the first error in one line."""
    fault = error.errors()[0]
    place = "/".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}. Received {fault['input']!r:.100}."


def _version_of(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
