"""Ask a bundle for the probabilities of texts."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from models.bundle.store import Bundle
from models.calibration import probabilities
from training.batches import for_prediction, predict_logits
from training.speedups import with_fused_lstm

Answer = Callable[[Sequence[str]], np.ndarray]
"""Returns calibrated probabilities: texts -> float64[texts, labels]."""


def answers_of(bundle: Bundle) -> Answer:
    """Return a function that asks `bundle`, whose answers are those that the service gives."""
    logits = with_fused_lstm(keras.Model(bundle.model.input, bundle.model.output["logits"]))
    forward = for_prediction(logits)

    def answer(texts: Sequence[str]) -> np.ndarray:
        ids = [bundle.tokenizer.encode(text, bundle.card.max_tokens).ids for text in texts]
        return probabilities(predict_logits(forward, ids), bundle.card.temperature)

    return answer
