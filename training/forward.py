"""Forward passes over many texts, outside serving."""

from collections.abc import Sequence

import keras
import numpy as np

from training.batches import batches_by_length, pad_batch

# TensorFlow trains and reads a recurrent encoder over batches of many widths faster as a plain graph than compiled anew
# by XLA for each width; JAX has no other way than to compile.
JIT_COMPILE = keras.backend.backend() == "jax"


def compiled(model: keras.Model) -> keras.Model:
    """A model of the same weights that `predict_texts` may run; `model` itself stays as it is."""
    forward = keras.Model(model.input, model.output)
    forward.compile(jit_compile=JIT_COMPILE)
    return forward


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
