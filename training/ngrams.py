"""How an attention over n-grams is trained: its start at Naive Bayes, and Adagrad for its tables."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from models.classifier import HEAD
from models.layers.ngram_attention import MOST_LOGIT_CODE, MOST_VALUE_CODE, UNSEEN, NgramAttention
from models.masking import Tensor
from models.tokenizer import PAD_ID
from training.batches import batches_by_length, pad_batch
from training.config import NgramsConfig

_BATCH = 128


def start_at_naive_bayes(
    model: keras.Model,
    config: NgramsConfig,
    ids: Sequence[np.ndarray],
    targets: np.ndarray,
    weights: np.ndarray | None = None,
) -> None:
    """Set the weights of a classifier of the mechanism `ngram_attention` from counts over the training texts.

    The value of an n-gram is the log ratio of its rate among the texts of a label and among the others, as of Wang and
    Manning 2012; its attention logit is a part of the largest size of its values. N-grams that fewer than
    `config.min_count` texts hold have value 0 and get no attention. The head adds up the values of each label, and its
    bias is the log of the labels' shares. The kernel of the head is not trained.

    Args:
        ids: int32[tokens] of each training text.
        targets: float32[texts, labels], the probabilities of its labels: 0 and 1 where they are known.
        weights: float[labels], weight of each label in the loss, and in the labels' shares; None weighs all alike.
    """
    layer, head = model.get_layer("attention"), model.get_layer(HEAD)
    labels = head.labels
    texts = targets.sum(axis=0, dtype=np.float64)  # [labels]
    counts = ngram_counts(layer, ids, targets)  # [buckets, labels]
    total = counts.sum(axis=1, keepdims=True)
    ratios = np.log((counts + 1) / (texts + 2)) - np.log((total - counts + 1) / (texts.sum() - texts + 2))
    ratios[total[:, 0] < config.min_count] = 0
    shares = np.maximum(texts, 1) * (1.0 if weights is None else weights)
    prior = np.log(shares / shares.sum())
    if labels == 2:
        ratios = ratios[:, 1:]
        kernel = np.array([[-0.5, 0.5]])
    else:
        kernel = np.eye(labels)
    attention = np.where(total[:, 0] < config.min_count, UNSEEN, config.start_attention * np.abs(ratios).max(axis=1))
    layer.set_weights([attention, ratios, *layer.get_weights()[2:]])
    head.set_weights([kernel, prior, *head.get_weights()[2:]])
    head.kernel.trainable = False


def ngram_counts(layer: NgramAttention, ids: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """How many texts of each label hold the n-grams of each bucket: float64[buckets, labels].

    Args:
        layer: hashes the n-grams.
        ids: int32[tokens] of each text.
        targets: float32[texts, labels], how far each text counts for each label.
    """
    counts = np.zeros((targets.shape[1], layer.buckets + 1))  # the last one for places without an n-gram
    for positions in batches_by_length(np.array([len(text) for text in ids]), _BATCH):
        batch = pad_batch([ids[i] for i in positions])
        grams = np.sort(ops.convert_to_numpy(layer.hashed(batch, batch != PAD_ID)), axis=1)
        grams[:, 1:][grams[:, 1:] == grams[:, :-1]] = layer.buckets  # a text counts once
        for label, count in enumerate(counts):
            np.add.at(count, grams.ravel(), np.repeat(targets[positions, label], grams.shape[1]))
    return counts[:, :-1].T


def codes_of(logits: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Return the weights of a layer of 8 bits: the nearest codes of float32 tables, and their ranges.

    Args:
        logits: float32[buckets], the attention logits.
        values: float32[buckets, features].

    Returns:
        uint8[buckets], int8[buckets, features], float32[2], float32[1], in the order of the layer's weights.
    """
    seen = logits > UNSEEN
    low, high = (float(logits[seen].min()), float(logits[seen].max())) if seen.any() else (0.0, 0.0)
    step = max(high - low, 1e-6) / (MOST_LOGIT_CODE - 1)
    codes = np.where(seen, 1 + np.rint((logits - low) / step), 0).clip(0, MOST_LOGIT_CODE).astype(np.uint8)
    value_step = max(float(np.abs(values[seen]).max(initial=0.0)), 1e-6) / MOST_VALUE_CODE
    value_codes = np.where(seen[:, None], np.rint(values / value_step), 0).astype(np.int8)
    return [codes, value_codes, np.array([low - step, step], np.float32), np.array([value_step], np.float32)]


class TableAdagrad(keras.optimizers.Adagrad):
    """Adagrad (Duchi et al. 2011) for the tables of `NgramAttention` and the bias of its head.

    A batch touches few rows of a table. On TensorFlow no other row costs time; elsewhere the update passes over all.

    Args:
        learning_rate: of the values.
        attention_rate: learning rate of the attention logits and of the bias, as a part of that of the values.
        pull: gradient that draws a value back, as a part of its distance from where it was when training began.
    """

    def __init__(self, learning_rate: Any, *, attention_rate: float, pull: float) -> None:
        super().__init__(learning_rate, initial_accumulator_value=1e-8, epsilon=0.0, name="adagrad")
        self.attention_rate = attention_rate
        self.pull = pull

    def build(self, variables: list[keras.Variable]) -> None:
        """Remember where the values start."""
        if self.built:
            return
        super().build(variables)
        self._starts: list[keras.Variable | None] = []
        for variable in variables:
            start = self.add_variable_from_reference(variable, name="start") if len(variable.shape) == 2 else None
            if start is not None:
                start.assign(variable)
            self._starts.append(start)

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Update one variable in place."""
        position = self._get_variable_index(variable)
        start, accumulator = self._starts[position], self._accumulators[position]
        rate = ops.cast(learning_rate, variable.dtype) * (self.attention_rate if start is None else 1.0)
        if hasattr(gradient, "indices"):
            _update_rows(gradient, variable, accumulator, start, rate, self.pull)
            return
        if start is not None:
            gradient = gradient + ops.where(gradient != 0, self.pull * (variable - start), 0.0)
        self.assign_add(accumulator, ops.square(gradient))
        self.assign_sub(variable, rate * gradient / ops.sqrt(accumulator))


def _update_rows(gradient: Any, variable: Any, accumulator: Any, start: Any, rate: Any, pull: float) -> None:
    """Update the rows of `gradient`, a `tf.IndexedSlices` in which a row may stand several times."""
    import tensorflow as tf

    rows, place = tf.unique(gradient.indices)
    summed = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    if start is not None:
        summed += pull * (tf.gather(variable, rows) - tf.gather(start.value, rows))
    tf.raw_ops.ResourceSparseApplyAdagradV2(
        var=variable.handle,
        accum=accumulator.value.handle,
        lr=rate,
        epsilon=0.0,
        grad=summed,
        indices=rows,
    )
