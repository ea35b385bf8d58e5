"""The equations again, in float64 and loops a reader can follow; and what the sources make of padding."""

import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def real_softmax(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Over the last axis, where `mask` of the same shape is True; rows of nothing are zeros."""
    weights = np.zeros(scores.shape)
    for row in np.ndindex(scores.shape[:-1]):
        if mask[row].any():
            weights[row][mask[row]] = softmax(scores[row][mask[row]])
    return weights


def pairs(mask: np.ndarray) -> np.ndarray:
    """bool[tokens] -> bool[query, key], True where both are real."""
    return np.logical_and(mask[:, None], mask[None, :])


def additive_pooling(
    states: np.ndarray, mask: np.ndarray, kernel: np.ndarray, bias: np.ndarray, query: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One text: states[tokens, features] -> (pooled[features], weights[tokens])."""
    weights = real_softmax((np.tanh(states @ kernel + bias) @ query)[:, 0], mask)
    return weights @ states, weights


def dot_product(states: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One text: states[tokens, features] -> (context[tokens, features], map[query, key])."""
    weights = real_softmax(states @ states.T / np.sqrt(states.shape[-1]), pairs(mask))
    return weights @ states, weights


def additive_scores(states: np.ndarray, *weights: np.ndarray) -> np.ndarray:
    """e[query, key] of SeqSelfAttention, pair by pair."""
    query_kernel, key_kernel, bias, score_kernel, score_bias = weights
    scores = np.empty((len(states), len(states)))
    for t, query in enumerate(states):
        for s, key in enumerate(states):
            scores[t, s] = (np.tanh(query @ query_kernel + key @ key_kernel + bias) @ score_kernel + score_bias)[0]
    return scores


def multiplicative_scores(states: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return states @ kernel @ states.T + bias


def attention_1_as_published(states: np.ndarray) -> np.ndarray:
    """Padding and all: states[tokens, features] -> context[features], summed over every position."""
    return (softmax(states @ states.T / np.sqrt(states.shape[-1])) @ states).sum(axis=0)


def attention_2_as_published(states: np.ndarray, kernel: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The weights[tokens], padding and all."""
    return softmax((np.tanh(states @ kernel) @ query)[:, 0])


def seq_self_attention_as_published(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The map of keras-self-attention 0.51: only pairs of two padded positions are held back."""
    padding = 1.0 - mask
    return softmax(scores - 10000 * padding[:, None] * padding[None, :])
