"""Forward passes over many texts, outside serving."""

from collections.abc import Sequence

import keras
import numpy as np

from training.batches import batches_by_length, pad_batch
from training.config import TrainConfig

_ALWAYS = keras.backend.backend() == "jax"  # which has no other way


def compiled(model: keras.Model) -> keras.Model:
    """A model of the same weights that `predict_logits` may run; `model` itself stays as it is.

    On TensorFlow it is a plain graph: a pass over the texts is over before XLA has compiled it for each width.
    """
    forward = keras.Model(model.input, model.output)
    forward.compile(jit_compile=_ALWAYS)
    return forward


def trains_compiled(config: TrainConfig) -> bool:
    """Whether XLA trains this classifier in less time than TensorFlow's plain graph.

    A local or sparse attention is many small operations on a map or a band of it, which XLA makes into few, in half the
    time. All else is as quick as a graph, or quicker, the recurrent encoders above all, and XLA would compile it for
    every width. docs/training.md has the figures.
    """
    model = config.model
    return _ALWAYS or model.get("mechanism") in ("local", "sparse") or "attention_width" in model.get("attention", {})


def predict_logits(forward: keras.Model, ids: Sequence[np.ndarray], batch_size: int = 128) -> np.ndarray:
    """Logits of every text, in order: int32[tokens] each -> float32[texts, labels]."""
    lengths = np.array([len(one) for one in ids])
    logits: np.ndarray | None = None
    for positions in batches_by_length(lengths, batch_size):
        outputs = forward.predict_on_batch(pad_batch([ids[i] for i in positions]))
        batch_logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        if logits is None:
            logits = np.zeros((len(ids), batch_logits.shape[-1]), np.float32)
        logits[positions] = batch_logits
    if logits is None:
        raise ValueError("Expected at least one text. Received none.")
    return logits


def predict_tokens(forward: keras.Model, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Every output for one text, without the batch axis: int32[tokens] -> float32 arrays."""
    outputs = forward.predict_on_batch(pad_batch([ids]))
    return {name: values[0] if name == "logits" else values[0, : len(ids)] for name, values in outputs.items()}
