"""Turn a model's result for a text into its answer: calibrated scores, tokens with offsets, warnings."""

from enum import StrEnum
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import orjson

from models.bundle.card import BundleCard
from models.bundle.parts import BundleParts
from models.calibration import probabilities
from models.tokenizer import UNKNOWN_ID, Encoding
from service.inference.engine import Result
from service.inference.errors import PredictionFailed

try:
    from models.native.text import write_tokens
except ImportError:  # an installation without the kernels
    write_tokens = None  # type: ignore[assignment]

WEIGHT_DIGITS = 6
"""Significant digits of a weight: the sum over a text stays 1 within 1e-6."""

SCORE_DIGITS = 12
"""Significant digits of a score: ln(p / (1 - p)) is right within 1e-4 up to p = 0.99999999."""

CONTRIBUTION_DECIMALS = 8
"""Decimals of a contribution: rounding a thousand of them changes their sum by less than 1e-5."""

OffsetEncoding = Literal["codepoint", "utf16", "utf8"]
OFFSET_ENCODINGS: tuple[OffsetEncoding, ...] = get_args(OffsetEncoding)


class WarningCode(StrEnum):
    """Codes of the warnings about a prediction."""

    TRUNCATED = "truncated"
    """The text has more tokens than the model reads."""
    MOSTLY_UNKNOWN = "mostly_unknown"
    """More than half of the tokens read are not in the vocabulary."""


def describe_model(card: BundleCard) -> dict[str, Any]:
    """Return the `model` of a response."""
    return {
        "name": card.name,
        "version": card.version,
        "mechanism": card.mechanism,
        "attention_is": card.attention_is,
        "attention_above_chance": card.attention_above_chance,
    }


def describe_prediction(
    bundle: BundleParts,
    text: str,
    encoding: Encoding,
    result: Result,
    *,
    attention: bool = True,
    top_tokens: int | None = None,
    offset_encoding: OffsetEncoding = "codepoint",
    for_json: bool = False,
) -> dict[str, Any]:
    """Return one entry of `predictions`, of the shape `schemas.Prediction`.

    Args:
        bundle: The bundle whose model gave `result`.
        text: The text exactly as it was sent.
        encoding: Its tokens, at least one.
        result: The model's result for it.
        attention: Whether to give tokens.
        top_tokens: How many of them, the heaviest; None: all.
        offset_encoding: The unit of their offsets.
        for_json: Let `tokens` be an `orjson.Fragment`, which the kernel writes faster than dicts can be made.

    Raises:
        PredictionFailed: a logit is not a finite number.
    """
    labels, temperature = bundle.card.labels, bundle.card.temperature
    if not np.isfinite(result.logits).all():
        raise PredictionFailed("The model gave a logit that is not a finite number for this text.")
    scores = probabilities(result.logits, temperature).tolist()
    winner = max(range(len(scores)), key=scores.__getitem__)
    target = 1 if len(labels) == 2 else winner
    shown = [float(f"{score:.{SCORE_DIGITS}g}") for score in scores]
    tokens: Any = []
    if attention:
        columns = _columns(text, encoding, result, top_tokens, offset_encoding)
        written = _write_tokens(text, columns, temperature) if for_json else None
        tokens = _describe_tokens(text, columns, temperature) if written is None else orjson.Fragment(written)
    return {
        "label": labels[winner],
        "probability": shown[winner],
        "scores": dict(zip(labels, shown, strict=True)),
        "target": labels[target],
        "base_log_odds": None if result.contributions is None else _base_log_odds(bundle, target),
        "tokens": tokens,
        "truncation": {
            "applied": encoding.tokens_total > len(encoding.ids),
            "tokens_total": encoding.tokens_total,
            "tokens_read": len(encoding.ids),
        },
        "warnings": text_warnings(encoding),
    }


def unit_offsets(text: str, offsets: np.ndarray, encoding: OffsetEncoding) -> np.ndarray:
    """Convert code point offsets into `text` to another unit.

    Args:
        text: Unicode text without lone surrogates.
        offsets: integer[...], each from 0 to `len(text)`.
        encoding: The unit: `codepoint` (Python), `utf16` (JavaScript, Java, C#) or `utf8` (Go, Rust, bytes).

    Returns:
        integer[...], the same places in that unit.
    """
    if encoding == "codepoint" or text.isascii():
        return offsets
    code_points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)  # [len(text)]
    units = np.ones(len(code_points), dtype=np.int64)
    units += code_points >= 0x10000  # a surrogate pair, or the fourth byte
    if encoding == "utf8":
        units += code_points >= 0x80
        units += code_points >= 0x800
    before = np.concatenate([[0], np.cumsum(units)])  # [len(text) + 1]: units before each place
    converted: np.ndarray = before[offsets]
    return converted


class _Columns(NamedTuple):
    """The tokens to show, in text order.

    Attributes:
        ids: int32[tokens].
        starts: int32[tokens], offsets in code points.
        ends: int32[tokens].
        starts_shown: integer[tokens], offsets in the client's unit.
        ends_shown: integer[tokens].
        weights: float32[tokens].
        contributions: float32[tokens], not divided by the temperature; None if the mechanism has no exact ones.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    starts_shown: np.ndarray
    ends_shown: np.ndarray
    weights: np.ndarray
    contributions: np.ndarray | None


def _columns(
    text: str, encoding: Encoding, result: Result, top_tokens: int | None, offset_encoding: OffsetEncoding
) -> _Columns:
    weights = result.attention
    chosen: slice | np.ndarray = slice(None)
    if top_tokens is not None and top_tokens < len(weights):
        chosen = np.sort(np.argsort(-weights, kind="stable")[:top_tokens])
    starts, ends = encoding.starts[chosen], encoding.ends[chosen]
    return _Columns(
        ids=encoding.ids[chosen],
        starts=starts,
        ends=ends,
        starts_shown=unit_offsets(text, starts, offset_encoding),
        ends_shown=unit_offsets(text, ends, offset_encoding),
        weights=weights[chosen],
        contributions=None if result.contributions is None else result.contributions[chosen],
    )


def _write_tokens(text: str, columns: _Columns, temperature: float) -> bytes | None:
    """Return the tokens as a JSON array written by the kernel; None if it is missing or cannot write them."""
    if write_tokens is None:
        return None
    places = shown = (columns.starts_shown, columns.ends_shown)
    if not text.isascii():
        starts, ends = unit_offsets(text, np.stack((columns.starts, columns.ends)), "utf8")
        places = (starts, ends)
    return write_tokens(
        text.encode(),
        places=places,
        shown=shown,
        weights=columns.weights,
        weight_digits=WEIGHT_DIGITS,
        contributions=columns.contributions,
        temperature=temperature,
        contribution_decimals=CONTRIBUTION_DECIMALS,
        ids=columns.ids,
        unknown_id=UNKNOWN_ID,
    )


def _describe_tokens(text: str, columns: _Columns, temperature: float) -> list[dict[str, Any]]:
    """Return the tokens as plain dicts: typed objects would cost more than the rest of the answer."""
    contributions: list[float | None] = [None] * len(columns.ids)
    if columns.contributions is not None:
        scaled = columns.contributions.astype(np.float64) / temperature
        contributions = (np.round(scaled, CONTRIBUTION_DECIMALS) + 0.0).tolist()  # + 0.0: no "-0.0"
    return [
        {"text": text[a:b], "start": start, "end": end, "weight": weight, "contribution": contribution, "known": known}
        for a, b, start, end, weight, contribution, known in zip(
            columns.starts.tolist(),
            columns.ends.tolist(),
            columns.starts_shown.tolist(),
            columns.ends_shown.tolist(),
            _round_to_digits(columns.weights.astype(np.float64), WEIGHT_DIGITS).tolist(),
            contributions,
            (columns.ids != UNKNOWN_ID).tolist(),
            strict=True,
        )
    ]


def _base_log_odds(bundle: BundleParts, target: int) -> float | None:
    base = bundle.base_log_odds(target)
    return None if base is None else round(base, CONTRIBUTION_DECIMALS)


def text_warnings(encoding: Encoding) -> list[dict[str, str]]:
    """Return the warnings about a text, each a code and a message."""
    found = []
    read, unknown = len(encoding.ids), encoding.unknown
    if encoding.tokens_total > read:
        message = f"The text has {encoding.tokens_total} tokens; the first {read} were read."
        found.append({"code": WarningCode.TRUNCATED.value, "message": message})
    if 2 * unknown > read:
        message = f"{unknown} of the {read} tokens read are not in the vocabulary."
        found.append({"code": WarningCode.MOSTLY_UNKNOWN.value, "message": message})
    return found


def _round_to_digits(values: np.ndarray, digits: int) -> np.ndarray:
    """Round non-negative float64[n] to significant digits; zeros stay zeros."""
    exponents = digits - 1 - np.floor(np.log10(values, where=values > 0, out=np.zeros_like(values)))
    scale = 10.0 ** np.minimum(exponents, 300)
    rounded: np.ndarray = np.where(exponents > 300, values, np.round(values * scale) / scale)  # 300: no overflow
    return rounded
