"""Where an attention over n-grams starts: at Naive Bayes."""

import keras
import numpy as np
from keras import ops

from models.classifier import HEAD
from models.layers.ngram_attention import UNSEEN, NgramAttention
from models.tokenizer import PAD_ID
from training.batches import batches_by_length, pad_batch
from training.config import NgramsConfig
from training.fit import EncodedTexts

_BATCH = 128


def start_at_naive_bayes(model: keras.Model, config: NgramsConfig, train: EncodedTexts) -> None:
    """Set the weights of a classifier of the mechanism `ngram_attention` to what counting the training texts gives.

    The value of an n-gram is the log ratio of its rate among the texts of a label and among the others, as of Wang and
    Manning 2012; its attention logit is a part of the largest size of its values. N-grams that fewer than
    `config.min_count` texts hold have value 0 and get no attention. The head adds up the values of each label, and its
    bias is the log ratio of the labels' counts; it is not trained.
    """
    layer, head = model.get_layer("attention"), model.get_layer(HEAD)
    labels = head.labels
    texts = np.bincount(train.labels, minlength=labels)  # int[labels]
    counts = ngram_counts(layer, train, labels)  # int[buckets, labels]
    total = counts.sum(axis=1, keepdims=True)
    ratios = np.log((counts + 1) / (texts + 2)) - np.log((total - counts + 1) / (texts.sum() - texts + 2))
    ratios[total[:, 0] < config.min_count] = 0
    prior = np.log(np.maximum(texts, 1) / len(train.labels))
    if labels == 2:
        ratios = ratios[:, 1:]
        kernel = np.array([[-0.5, 0.5]])
    else:
        kernel = np.eye(labels)
    attention = np.where(total[:, 0] < config.min_count, UNSEEN, config.start_attention * np.abs(ratios).max(axis=1))
    layer.set_weights([attention, ratios, *layer.get_weights()[2:]])
    head.set_weights([kernel, prior, *head.get_weights()[2:]])
    head.trainable = False


def ngram_counts(layer: NgramAttention, texts: EncodedTexts, labels: int) -> np.ndarray:
    """How many texts of each label hold the n-grams of each bucket: int[buckets, labels]."""
    counts = np.zeros((labels, layer.buckets + 1), np.int64)  # the last one for places without an n-gram
    found: list[list[np.ndarray]] = [[] for _ in range(labels)]
    for positions in batches_by_length(texts.lengths, _BATCH):
        ids = pad_batch([texts.ids[i] for i in positions])
        grams = np.sort(ops.convert_to_numpy(layer.hashed(ids, ids != PAD_ID)), axis=1)
        grams[:, 1:][grams[:, 1:] == grams[:, :-1]] = layer.buckets  # a text counts once
        for label in range(labels):
            found[label].append(grams[texts.labels[positions] == label].ravel())
    for label in range(labels):
        counts[label] = np.bincount(np.concatenate(found[label]), minlength=layer.buckets + 1)
    return counts[:, :-1].T
