"""From what a model said of a text to what the client is told: calibrated scores, tokens with their spans, warnings."""

import math
from typing import Any, NamedTuple

import numpy as np
import orjson

from models.bundle.card import BundleCard
from models.bundle.parts import BundleParts
from models.tokenizer import UNKNOWN_ID, Encoding
from service.http.schemas import WarningCode
from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.native_answers import write_tokens
from service.offsets import OffsetEncoding, unit_offsets

WEIGHT_DIGITS = 6
"""Significant digits of a weight: the sum over a text stays 1 within 1e-6."""

SCORE_DIGITS = 12
"""Significant digits of a score: a client that takes ln(p / (1 - p)) is right within 1e-4 up to p = 0.99999999."""

CONTRIBUTION_DECIMALS = 8
"""Decimals of a contribution: a thousand rounded ones are off by less than 1e-5 together."""


def describe_model(card: BundleCard) -> dict[str, Any]:
    """The `model` of a response."""
    return {
        "name": card.name,
        "version": card.version,
        "mechanism": card.mechanism,
        "attention_is": card.attention_is,
    }


def calibrated_scores(logits: np.ndarray, temperature: float) -> list[float]:
    """A probability for each label from logits float32[labels], never clipped.

    Raises:
        PredictionFailed: a logit is not a number.
    """
    scaled = [logit / temperature for logit in logits.tolist()]  # for so few, plain numbers are quicker than NumPy
    if not all(map(math.isfinite, scaled)):
        raise PredictionFailed("The model gave a logit that is not a finite number for this text.")
    largest = max(scaled)
    exponentials = [math.exp(logit - largest) for logit in scaled]
    total = sum(exponentials)
    return [exponential / total for exponential in exponentials]


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
    """One entry of `predictions`, of the shape `schemas.Prediction`.

    Args:
        bundle: The bundle whose model gave `result`.
        text: The very text that was sent.
        encoding: What the tokenizer made of it, of at least one token.
        result: What the model said about it.
        attention: Whether to give tokens.
        top_tokens: How many of them, the heaviest; None: all.
        offset_encoding: What their offsets count.
        for_json: Whether it is for `orjson` alone, so that its tokens may be JSON already.
    """
    labels = bundle.card.labels
    scores = calibrated_scores(result.logits, bundle.card.temperature)
    winner = max(range(len(scores)), key=scores.__getitem__)
    target = 1 if len(labels) == 2 else winner
    shown = [float(f"{score:.{SCORE_DIGITS}g}") for score in scores]
    tokens: Any = []
    if attention:
        columns = _columns(text, encoding, result, top_tokens, offset_encoding)
        written = _write_tokens(text, columns, bundle.card.temperature) if for_json else None
        tokens = (
            _describe_tokens(text, columns, bundle.card.temperature) if written is None else orjson.Fragment(written)
        )
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


class _Columns(NamedTuple):
    """What is said of the tokens that are shown, in text order.

    Attributes:
        ids: int32[tokens].
        starts: int32[tokens], offsets in code points.
        ends: int32[tokens].
        starts_shown: integer[tokens], offsets as the client counts.
        ends_shown: integer[tokens].
        weights: float32[tokens].
        contributions: float32[tokens], not divided by the temperature; None where they are not exact.
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
    """`_describe_tokens` as a JSON array; None where that cannot be written in C."""
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
    )


def _describe_tokens(text: str, columns: _Columns, temperature: float) -> list[dict[str, Any]]:
    """Tokens in text order, as plain dicts: an object a token would cost more than the rest of the answer."""
    contributions: list[float | None] = [None] * len(columns.ids)
    if columns.contributions is not None:
        shares = columns.contributions.astype(np.float64) / temperature
        contributions = (np.round(shares, CONTRIBUTION_DECIMALS) + 0.0).tolist()  # + 0.0: no "-0.0"
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
    """The warnings about a text: a code and a message each."""
    found = []
    read = len(encoding.ids)
    if encoding.tokens_total > read:
        message = f"The text has {encoding.tokens_total} tokens; the first {read} were read."
        found.append({"code": WarningCode.TRUNCATED.value, "message": message})
    unknown = encoding.unknown
    if 2 * unknown > read:
        message = f"{unknown} of the {read} tokens read are not in the vocabulary."
        found.append({"code": WarningCode.MOSTLY_UNKNOWN.value, "message": message})
    return found


def _round_to_digits(values: np.ndarray, digits: int) -> np.ndarray:
    """Non-negative float64[n], rounded to significant digits; zeros stay zeros."""
    exponents = digits - 1 - np.floor(np.log10(values, where=values > 0, out=np.zeros_like(values)))
    scale = 10.0 ** np.minimum(exponents, 300)
    rounded: np.ndarray = np.where(exponents > 300, values, np.round(values * scale) / scale)  # 300: no overflow
    return rounded
