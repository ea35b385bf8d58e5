"""Bands compared with loops over queries and keys in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops

from models.windows import (
    Window,
    band_column_sums,
    band_context,
    band_distance_from_identity,
    band_mask,
    band_scores,
    band_to_map,
)
from tests.derivatives import derivatives
from tests.layer_checks import to_numpy

WINDOWS = [Window(0, 0), Window(1, 1), Window(2, 1), Window(4, 0), Window(0, 3), Window(9, 9), Window(20, 3)]
LENGTHS = [1, 2, 5, 16, 17, 40]  # shorter and longer than the windows and the blocks of 16 and 23 tokens
EVERY = pytest.mark.parametrize(("window", "tokens"), [(window, tokens) for window in WINDOWS for tokens in LENGTHS])
GENERATOR = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype("float32")


def entries(window: Window, tokens: int) -> list[tuple[int, int, int]]:
    """(query, offset, key) of every existing key in every window."""
    offsets = range(window.width)
    every = [(query, offset, query - window.before + offset) for query in range(tokens) for offset in offsets]
    return [(query, offset, key) for query, offset, key in every if 0 <= key < tokens]


def existing(window: Window, tokens: int) -> np.ndarray:
    """bool[tokens, width], True where the key exists."""
    exists = np.zeros((tokens, window.width), bool)
    for query, offset, _ in entries(window, tokens):
        exists[query, offset] = True
    return exists


def band(window: Window, *shape: int) -> np.ndarray:
    """float32[*shape, width], 0 for missing keys."""
    return normal(*shape, window.width) * existing(window, shape[-1])


@EVERY
def test_band_scores_are_dot_products(window: Window, tokens: int) -> None:
    queries, keys = normal(2, tokens, 3), normal(2, tokens, 3)
    expected = np.zeros((2, tokens, window.width))
    for query, offset, key in entries(window, tokens):
        expected[:, query, offset] = (queries[:, query] * keys[:, key]).sum(axis=-1)
    received = to_numpy(band_scores(ops.array(queries), ops.array(keys), window))
    np.testing.assert_allclose(received, expected, atol=1e-5)


@EVERY
def test_band_mask_is_true_for_real_keys(window: Window, tokens: int) -> None:
    mask = GENERATOR.uniform(size=(3, tokens)) > 0.4
    expected = np.zeros((3, tokens, window.width), bool)
    for query, offset, key in entries(window, tokens):
        expected[:, query, offset] = mask[:, key]
    states = ops.array(normal(3, tokens, 2))
    np.testing.assert_array_equal(to_numpy(band_mask(ops.array(mask), states, window)), expected)
    np.testing.assert_array_equal(to_numpy(band_mask(None, states, window)), existing(window, tokens)[None])


@EVERY
def test_band_context_is_a_weighted_sum_of_the_window(window: Window, tokens: int) -> None:
    weights, values = band(window, 2, tokens), normal(2, tokens, 3)
    expected = np.zeros((2, tokens, 3))
    for query, offset, key in entries(window, tokens):
        expected[:, query] += weights[:, query, offset, None] * values[:, key]
    received = to_numpy(band_context(ops.array(weights), ops.array(values), window))
    np.testing.assert_allclose(received, expected, atol=1e-5)


@EVERY
def test_band_to_map_moves_every_offset_to_its_key(window: Window, tokens: int) -> None:
    weights = band(window, 2, 3, tokens)
    expected = np.zeros((2, 3, tokens, tokens), "float32")
    for query, offset, key in entries(window, tokens):
        expected[..., query, key] = weights[..., query, offset]
    np.testing.assert_array_equal(to_numpy(band_to_map(ops.array(weights), window)), expected)


@EVERY
def test_band_column_sums_equal_those_of_the_map(window: Window, tokens: int) -> None:
    coefficients = normal(2, tokens)
    for heads in ((), (3,)):
        weights = band(window, 2, *heads, tokens)
        expected = np.zeros((2, *heads, tokens))
        for query, offset, key in entries(window, tokens):
            coefficient = coefficients[:, query].reshape(2, *(1 for _ in heads))
            expected[..., key] += coefficient * weights[..., query, offset]
        received = to_numpy(band_column_sums(ops.array(weights), ops.array(coefficients), window))
        np.testing.assert_allclose(received, expected, atol=1e-5)


@EVERY
def test_band_distance_from_identity_equals_that_of_the_map(window: Window, tokens: int) -> None:
    mask = GENERATOR.uniform(size=(2, tokens)) > 0.3
    weights = band(window, 2, tokens)
    weights = np.where(mask[:, :, None], weights, 0).astype("float32")
    maps = np.zeros((2, tokens, tokens))
    for query, offset, key in entries(window, tokens):
        maps[:, query, key] = weights[:, query, offset]
    for given, real in ((mask, mask), (None, np.ones_like(mask))):
        products = maps @ maps.transpose(0, 2, 1)
        expected = ((products - np.eye(tokens) * real[:, :, None]) ** 2).sum(axis=(1, 2))
        received = band_distance_from_identity(ops.array(weights), None if given is None else ops.array(given), window)
        np.testing.assert_allclose(to_numpy(received), expected, rtol=1e-4)


def test_leading_axes_are_arbitrary() -> None:
    window = Window(2, 1)
    queries, keys, values = normal(2, 3, 9, 4), normal(2, 3, 9, 4), normal(2, 3, 9, 5)
    scores = band_scores(ops.array(queries), ops.array(keys), window)
    context = band_context(scores, ops.array(values), window)
    for batch, head in np.ndindex(2, 3):
        alone = band_scores(ops.array(queries[batch, head]), ops.array(keys[batch, head]), window)
        np.testing.assert_allclose(to_numpy(scores[batch, head]), to_numpy(alone), atol=1e-5)
        alone = band_context(alone, ops.array(values[batch, head]), window)
        np.testing.assert_allclose(to_numpy(context[batch, head]), to_numpy(alone), atol=1e-5)


def every_operation(window: Window) -> Callable[..., list[Any]]:
    """Run every band operation."""

    def forward(queries: Any, keys: Any, mask: Any) -> list[Any]:
        exists = band_mask(mask, queries, window)
        scores = band_scores(queries, keys, window)
        weights = ops.where(exists, scores, ops.zeros_like(scores))
        sums = band_column_sums(weights, queries[:, :, 0], window)
        without = band_mask(None, queries, window)
        context = band_context(weights, keys, window)
        distance = band_distance_from_identity(weights, mask, window)
        return [exists, without, weights, context, band_to_map(weights, window), sums, distance]

    return forward


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_one_graph_handles_any_number_of_tokens(window: Window, compiled: bool) -> None:
    import tensorflow as tf

    states = tf.TensorSpec((None, None, 3), "float32")
    graph = tf.function(
        every_operation(window),
        input_signature=[states, states, tf.TensorSpec((None, None), "bool")],
        jit_compile=compiled,
    )
    for tokens in (1, 7, 40) if compiled else LENGTHS:
        mask = GENERATOR.uniform(size=(2, tokens)) > 0.3
        given = [ops.array(normal(2, tokens, 3)), ops.array(normal(2, tokens, 3)), ops.array(mask)]
        for received, expected in zip(graph(*given), every_operation(window)(*given), strict=True):
            assert received.shape == expected.shape
            np.testing.assert_allclose(to_numpy(received), to_numpy(expected), atol=1e-5, rtol=1e-4)


def test_a_window_wider_than_the_text_is_cut_to_the_text() -> None:
    """A million offsets on three tokens: only the band itself is that wide."""
    states = ops.array(normal(1, 3, 2))
    window = Window(1_000_000, 0)
    scores = to_numpy(band_scores(states, states, window))
    assert scores.shape == (1, 3, 1_000_001)
    assert not scores[..., :-3].any()


@pytest.mark.parametrize("window", WINDOWS)
def test_gradients_equal_those_of_the_full_map(window: Window) -> None:
    """Gradients of context and column sums, compared with a masked full map."""
    tokens = 40
    offsets = np.arange(tokens)[None, :] - np.arange(tokens)[:, None]
    within = (-window.before <= offsets) & (offsets <= window.after)
    queries, keys, values, coefficients = (
        normal(2, tokens, 3),
        normal(2, tokens, 3),
        normal(2, tokens, 3),
        normal(2, tokens),
    )
    direction = normal(2, tokens, 3)

    def in_a_band(queries: Any, keys: Any, values: Any) -> Any:
        scores = band_scores(queries, keys, window) * ops.cast(band_mask(None, queries, window), "float32")
        sums = band_column_sums(scores, ops.array(coefficients), window)
        return ops.sum(band_context(scores, values, window) * direction) + ops.sum(sums**2)

    def in_a_map(queries: Any, keys: Any, values: Any) -> Any:
        scores = ops.matmul(queries, ops.swapaxes(keys, 1, 2)) * ops.array(within.astype("float32"))
        sums = ops.sum(scores * ops.array(coefficients)[:, :, None], axis=1)
        return ops.sum(ops.matmul(scores, values) * direction) + ops.sum(sums**2)

    for received, expected in zip(
        derivatives(in_a_band, queries, keys, values), derivatives(in_a_map, queries, keys, values), strict=True
    ):
        np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-3)
