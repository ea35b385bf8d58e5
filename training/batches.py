"""Batches of texts of similar length, and forward passes over them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from models.tokenizer import PAD_ID, Tokenizer

WIDTH_STEP = 32
"""Batch widths are multiples of this, so that a backend that compiles every shape compiles few."""

ALWAYS_COMPILED = keras.backend.backend() == "jax"  # which has no other mode


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Tokenized texts.

    Attributes:
        ids: int32[tokens] each.
        labels: int32[texts].
        soft: probabilities of the labels to learn in place of `labels`, float32[texts, labels]; None learns `labels`.
        weights: weight of each text in the training loss, float32[texts]; None weighs all alike.
        made: how many of the last texts are parts of texts, or made.
    """

    ids: Sequence[np.ndarray]
    labels: np.ndarray
    soft: np.ndarray | None = None
    weights: np.ndarray | None = None
    made: int = 0

    @property
    def lengths(self) -> np.ndarray:
        """Return int[texts], in tokens."""
        return np.array([len(one) for one in self.ids])

    def targets(self, labels: int) -> np.ndarray:
        """Return what to learn, float32[texts, labels]: probabilities, or 1 for the label."""
        return np.eye(labels, dtype=np.float32)[self.labels] if self.soft is None else self.soft

    def take(self, positions: np.ndarray) -> "EncodedTexts":
        """Return the texts at `positions`, in that order."""
        soft, weights = (None if each is None else each[positions] for each in (self.soft, self.weights))
        return EncodedTexts([self.ids[i] for i in positions], self.labels[positions], soft, weights)

    def found(self) -> "EncodedTexts":
        """Return the whole texts that somebody wrote."""
        return self.take(np.arange(len(self.ids) - self.made)) if self.made else self

    def and_taught(
        self, ids: Sequence[np.ndarray], soft: np.ndarray, weights: np.ndarray, made: int = 0
    ) -> "EncodedTexts":
        """Return these texts and further ones, whose labels are known as probabilities alone.

        Args:
            ids: int32[tokens] of each further text.
            soft: float32[texts, labels], their probabilities.
            weights: float32[texts], their weights in the training loss, where a labelled text weighs 1.
            made: how many of the last ones are parts of texts, or made.
        """
        return EncodedTexts(
            [*self.ids, *ids],
            np.concatenate([self.labels, soft.argmax(axis=1).astype(np.int32)]),
            np.concatenate([self.targets(soft.shape[1]), soft]),
            np.concatenate([np.ones(len(self.ids), np.float32), weights]),
            made,
        )


def encode_texts(tokenizer: Tokenizer, texts: Iterable[str], labels: np.ndarray, max_tokens: int) -> EncodedTexts:
    """Tokenize texts, cutting each after `max_tokens` tokens."""
    return EncodedTexts([tokenizer.encode(text, max_tokens).ids for text in texts], labels)


def pad_batch(ids: Sequence[np.ndarray]) -> np.ndarray:
    """Pad int32[tokens] each on the right to one int32[texts, width]; the width is a multiple of `WIDTH_STEP`."""
    longest = max((len(one) for one in ids), default=0)
    batch = np.full((len(ids), max(1, -(-longest // WIDTH_STEP)) * WIDTH_STEP), PAD_ID, dtype=np.int32)
    for row, one in enumerate(ids):
        batch[row, : len(one)] = one
    return batch


def batches_by_length(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Return the positions of all texts in batches, from the shortest text to the longest."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def shuffled_batches(
    lengths: np.ndarray, batch_size: int, generator: np.random.Generator, spread: float = 16.0
) -> Iterator[np.ndarray]:
    """Yield the positions of all texts in batches of similar length, in random order.

    Lengths are jittered by up to `spread` tokens, so batches differ from epoch to epoch.
    """
    jittered = lengths + generator.uniform(-spread, spread, len(lengths))
    batches = batches_by_length(jittered, batch_size)
    for position in generator.permutation(len(batches)):
        yield batches[position]


def for_prediction(model: keras.Model) -> keras.Model:
    """Return a model that shares the weights of `model` and is compiled for `predict_logits`.

    On TensorFlow it runs as a plain graph: compiling each width with XLA would take longer than the passes.
    """
    forward = keras.Model(model.input, model.output)
    forward.compile(jit_compile=ALWAYS_COMPILED)
    return forward


def predict_logits(forward: keras.Model, ids: Sequence[np.ndarray], batch_size: int = 128) -> np.ndarray:
    """Return the logits float32[texts, labels] of int32[tokens] each, in order."""
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
    """Return every output for one text int32[tokens], without the batch axis and padding."""
    outputs = forward.predict_on_batch(pad_batch([ids]))
    return {name: values[0] if name == "logits" else values[0, : len(ids)] for name, values in outputs.items()}
