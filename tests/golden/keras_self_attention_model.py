"""A whole model with a layer of keras-self-attention, saved as its users save theirs, and what it answers."""

from pathlib import Path

import keras
import numpy as np
from drawn import TEXTS, TOKENS, draw
from golden_file import GoldenSet
from keras_self_attention import SeqSelfAttention

WORDS = 20


def sets(file: Path) -> list[GoldenSet]:
    """Saves the model as `file`; the ids hold no 0, which would be padding."""
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(WORDS, 4, mask_zero=True),
            keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True)),
            SeqSelfAttention(units=5, attention_width=3, attention_activation="sigmoid", name="attention"),
            keras.layers.Dense(2),
        ]
    )
    for index, weight in enumerate(model.weights):
        weight.assign(draw(f"model/{index}", weight.shape))
    ids = np.random.default_rng(0).integers(1, WORDS, (TEXTS, TOKENS), dtype=np.int32)
    model.compile("adam", "mse")
    model.train_on_batch(ids, np.zeros((TEXTS, TOKENS, 2)))
    model.save(file)
    return [GoldenSet("model", "Sequential", {}, [ids], [], {}, {"output": np.asarray(model(ids))})]
