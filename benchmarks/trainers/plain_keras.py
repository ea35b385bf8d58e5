"""A typical Keras script: reviews padded to 512 tokens, Keras' own layers, `fit`."""

import contextlib
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.trainers.reviews import LONGEST, Reviews
from benchmarks.trainers.stopwatch import GoalReached, Stopwatch
from models.tokenizer import PAD_ID


class AttentionPooling(keras.layers.Layer):
    """Additive attention as in most tutorials: a score per token, softmax, weighted sum."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation="tanh")
        self.score = keras.layers.Dense(1, use_bias=False)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.hidden.build(input_shape)
        self.score.build((*input_shape[:-1], self.hidden.units))

    def call(self, states: Any, mask: Any = None) -> Any:
        scores = ops.squeeze(self.score(self.hidden(states)), axis=-1)  # [batch, tokens]
        if mask is not None:
            scores = ops.where(mask, scores, -1e9)
        return ops.einsum("bt,btf->bf", ops.softmax(scores), states)  # [batch, features]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None


class _Look(keras.callbacks.Callback):
    def __init__(self, stopwatch: Stopwatch) -> None:
        super().__init__()
        self._stopwatch = stopwatch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._stopwatch.batch_done()


def train(encoder: str, reviews: Reviews, seed: int, *, batch_size: int, epochs: int) -> dict[str, Any]:
    """Train for at most `epochs` and return the figures."""
    keras.utils.set_random_seed(seed)
    model = _model(encoder, reviews.vocabulary_size)
    train_ids, test_ids = _padded(reviews.train_ids), _padded(reviews.test_ids)

    def predict(positions: np.ndarray) -> np.ndarray:
        return model.predict(test_ids[positions], batch_size=256, verbose=0).argmax(axis=1)

    stopwatch = Stopwatch(reviews.test_labels, predict, batches=-(-len(train_ids) // batch_size))
    with contextlib.suppress(GoalReached):
        model.fit(
            train_ids,
            reviews.train_labels,
            batch_size=batch_size,
            epochs=epochs,
            callbacks=[_Look(stopwatch)],
            verbose=0,
        )
    return stopwatch.figures()


def _model(encoder: str, vocabulary_size: int) -> keras.Model:
    ids = keras.Input((LONGEST,), dtype="int32")
    # Conv1D of Keras does not support masks and warns about them.
    states = keras.layers.Embedding(vocabulary_size, 128, mask_zero=encoder == "bilstm")(ids)
    if encoder == "bilstm":
        states = keras.layers.Bidirectional(keras.layers.LSTM(96, return_sequences=True))(states)
    else:
        states = keras.layers.Conv1D(128, 3, padding="same", activation="relu")(states)
    pooled = keras.layers.Dropout(0.5)(AttentionPooling(64)(states))
    model = keras.Model(ids, keras.layers.Dense(2)(pooled))
    model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    return model


def _padded(ids: list[np.ndarray]) -> np.ndarray:
    return keras.utils.pad_sequences(ids, maxlen=LONGEST, padding="post", truncating="post", value=PAD_ID)
