"""The bundle as every peer uses it: same tokenizer, same graph, same fields in the answer.

A peer may set PEER_WORKERS, PEER_MAX_BATCH and PEER_WAIT_SECONDS, which its server reads as `WORKERS`, `MAX_BATCH` and
`WAIT_SECONDS`, and TF_NUM_INTRAOP_THREADS, which TensorFlow reads.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from models.bundle.store import load_bundle
from models.calibration import probabilities
from models.tokenizer import PAD_ID, Encoding

BUNDLE = Path(__file__).parents[3] / "models" / "saved" / "default"
WORKERS = int(os.environ.get("PEER_WORKERS", "1"))
MAX_BATCH = int(os.environ.get("PEER_MAX_BATCH", "32"))
WAIT_SECONDS = float(os.environ.get("PEER_WAIT_SECONDS", "0.005"))

Forward = Callable[[np.ndarray], dict[str, np.ndarray]]
"""ids int32[batch, tokens] -> outputs of the model by name."""


class Classifier:
    """Classify texts; answers are plain values.

    Args:
        predict: use `model.predict`; otherwise one `tf.function` for any batch and length, traced once.
    """

    def __init__(self, *, predict: bool = False) -> None:
        bundle = load_bundle(BUNDLE)
        self._card, self._tokenizer = bundle.card, bundle.tokenizer
        self._forward: Forward = _predict(bundle.model) if predict else _function(bundle.model)
        self.answers(["Warm.", "Up, once, before the first request comes."])

    def answer(self, text: str) -> dict[str, Any]:
        """Return the answer to one text."""
        return self.answers([text])[0]

    def answers(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return the answer to each text; all are one batch, padded to the longest."""
        encodings = [self._tokenizer.encode(text, self._card.max_tokens) for text in texts]
        ids = np.full((len(texts), max(len(one.ids) for one in encodings)), PAD_ID, np.int32)  # [texts, tokens]
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
        outputs = self._forward(ids)
        shares = outputs["contributions"].astype(np.float64) / self._card.temperature  # [texts, tokens]
        return [
            self._prediction(outputs["logits"][row])
            | {"tokens": _tokens(text, encodings[row], outputs["attention"][row], shares[row])}
            for row, text in enumerate(texts)
        ]

    def _prediction(self, logits: np.ndarray) -> dict[str, Any]:
        scores = probabilities(logits, self._card.temperature).tolist()
        winner = int(logits.argmax())
        return {
            "label": self._card.labels[winner],
            "probability": scores[winner],
            "scores": dict(zip(self._card.labels, scores, strict=True)),
        }


def _tokens(text: str, encoding: Encoding, weights: np.ndarray, shares: np.ndarray) -> list[dict[str, Any]]:
    """Describe the tokens; weights and shares are float[tokens], padding included."""
    spans = zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True)
    return [
        {"text": text[start:end], "start": start, "end": end, "weight": weight, "contribution": share}
        for (start, end), weight, share in zip(spans, weights.tolist(), shares.tolist(), strict=False)
    ]


def _predict(model: Any) -> Forward:
    def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
        outputs: dict[str, np.ndarray] = model.predict(ids, verbose=0)
        return outputs

    return forward


def _function(model: Any) -> Forward:
    import tensorflow as tf

    function = tf.function(
        lambda ids: model(ids, training=False), input_signature=[tf.TensorSpec((None, None), tf.int32)], autograph=False
    )

    def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
        return {name: output.numpy() for name, output in function(tf.constant(ids)).items()}

    return forward
