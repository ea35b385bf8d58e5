"""A few texts with Keras' outputs for them, by which kernels and ONNX Runtime are checked without Keras."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from models.bundle.card import first_fault
from models.bundle.verification import BundleError
from models.tokenizer import PAD_ID, UNKNOWN_ID

PROBE_FILE = "probe.json"
TOLERANCE = 1e-4
"""Allowed difference of an output: absolute up to 1, relative above."""

Forward = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""ids int32[batch, tokens], padded on the right -> outputs by name, each with `batch` as its first dimension."""

_LENGTHS = (24, 1, 0, 9, 100)
_PROBE_BYTES = 1 << 22
_DIGITS = 9  # enough to identify a float32


class ProbeText(BaseModel):
    """One text of `len(ids)` tokens, and the outputs for it with the padding cut off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: list[int]
    logits: list[float]
    attention: list[float]
    contributions: list[float] | None


class Probe(BaseModel):
    """The contents of `probe.json`: texts of several lengths, and the bases of `BundleParts`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bases: list[float] | None
    texts: list[ProbeText]

    def padded(self) -> np.ndarray:
        """Return the ids of all texts: int32[batch, tokens]."""
        return _padded([each.ids for each in self.texts])

    def difference(self, outputs: Mapping[str, Any]) -> str | None:
        """Describe the first output that differs from the recorded ones by more than `TOLERANCE`; None if all agree.

        Args:
            outputs: by name, arrays or lists with a row for every text; padding is ignored.
        """
        for row, text in enumerate(self.texts):
            for name in ("logits", "attention", "contributions"):
                if (expected := getattr(text, name)) is None:
                    continue
                if name not in outputs:
                    return f"expected an output {name!r}. Received {sorted(outputs)}"
                cut = outputs[name][row] if name == "logits" else outputs[name][row][: len(text.ids)]
                received, wanted = np.asarray(cut, np.float64), np.array(expected)
                if received.shape != wanted.shape:
                    return f"expected {name} of shape {wanted.shape}. Received {received.shape}"
                off = np.abs(received - wanted) / np.maximum(1, np.abs(wanted))
                if not (off <= TOLERANCE).all():  # NaN is not
                    return f"expected {name} within {TOLERANCE:g} of those of Keras. One is off by {off.max():.2g}"
        return None


def make_probe(
    forward: Forward, *, vocabulary_size: int, max_tokens: int, bases: Sequence[float] | None
) -> Probe | None:
    """Record the outputs for a batch of texts of random ids, the largest id among them; None if one is not finite.

    Small ids, of frequent words, are more likely, so that n-grams that training saw are among them.
    """
    generator = np.random.default_rng(0)
    most = np.log(vocabulary_size / UNKNOWN_ID)
    texts = [
        (UNKNOWN_ID * np.exp(generator.uniform(0, most, min(length, max_tokens)))).astype(int).tolist()
        for length in _LENGTHS
    ]
    texts[0][-1] = vocabulary_size - 1
    outputs = forward(_padded(texts))
    if not all(np.isfinite(output).all() for output in (*outputs.values(), np.array(bases or ()))):
        return None
    return Probe(
        bases=None if bases is None else _numbers(np.array(bases)),
        texts=[
            ProbeText(
                ids=ids,
                logits=_numbers(outputs["logits"][row]),
                attention=_numbers(outputs["attention"][row, : len(ids)]),
                contributions=_numbers(outputs["contributions"][row, : len(ids)])
                if "contributions" in outputs
                else None,
            )
            for row, ids in enumerate(texts)
        ],
    )


def read_probe(folder: Path) -> Probe:
    """Read the probe of the bundle in `folder`.

    Raises:
        BundleError: the file is not a probe.
    """
    file = folder / PROBE_FILE
    if (size := file.stat().st_size) > _PROBE_BYTES:
        raise BundleError(f"{file}: expected at most {_PROBE_BYTES} bytes. Received {size}.")
    try:
        probe = Probe.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise BundleError(f"{file}: {first_fault(error)}") from error
    if not any(text.ids for text in probe.texts):
        raise BundleError(f"{file}: expected a text with at least one token. Received none.")
    return probe


def _padded(texts: Sequence[Sequence[int]]) -> np.ndarray:
    ids = np.full((len(texts), max(map(len, texts))), PAD_ID, np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return ids


def _numbers(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in np.asarray(values).tolist()]
