"""Additive scores between all queries and keys, without holding a hidden state for every pair of a long text."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from keras import ops

from models.masking import Tensor
from models.windows import in_blocks

# How many numbers of hidden states are held at once: 4 MB of float32, all those of 181 tokens and 32 units. Measured
# with 512 and 1,024 tokens: with a quarter of it the many rounds take a third longer; four times as much gains none.
HELD_AT_ONCE = 2**20

_without_loops = ContextVar("without_loops", default=False)


@contextmanager
def without_loops() -> Iterator[None]:
    """Within it, graphs are traced with all hidden states written out: for formats that know no such loop."""
    token = _without_loops.set(True)
    try:
        yield
    finally:
        _without_loops.reset(token)


def additive_scores(queries: Tensor, keys: Tensor, kernel: Tensor) -> Tensor:
    """The scores e_tt' = sum over units u of kernel_u * tanh(queries_tu + keys_t'u).

    Where the hidden states of all pairs are known to be few, they are written out as the equation says: a loop would
    take a text of 128 tokens a third longer. Else a loop takes as many queries at a time as have few enough, and its
    gradient is a second loop that computes them again.

    Args:
        queries: float[..., query, units].
        keys: float[..., key, units].
        kernel: float[units].

    Returns:
        float[..., query, key].
    """
    tokens, hidden_of_one = ops.shape(queries)[-2], math.prod(ops.shape(keys))
    most = HELD_AT_ONCE // (hidden_of_one + 1) + 1
    rounds = (tokens + most - 1) // most
    # A size that is neither a number nor a tensor is a symbol, with which JAX asks for shapes and computes nothing.
    known_to_be_few = rounds <= 1 if isinstance(rounds, int) else not ops.is_tensor(rounds)
    if known_to_be_few or _without_loops.get():
        hidden = ops.tanh(ops.expand_dims(queries, -2) + ops.expand_dims(keys, -3))  # [..., query, key, units]
        return ops.tensordot(hidden, kernel, 1)
    block = (tokens + rounds - 1) // rounds
    blocks = ops.moveaxis(in_blocks(queries, block), -3, 0)  # [blocks, ..., block, units]
    score = ops.custom_gradient(_scores_of_blocks)
    # Units first: what a sum over them adds up then lies in long rows.
    scores = score(ops.moveaxis(blocks, -1, 1), ops.moveaxis(keys, -1, 0), ops.convert_to_tensor(kernel))
    scores = ops.moveaxis(scores, 0, -3)  # [..., blocks, block, key]
    return ops.reshape(scores, (*ops.shape(scores)[:-3], -1, ops.shape(keys)[-2]))[..., :tokens, :]


def _scores_of_blocks(queries: Tensor, keys: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
    """Of queries[blocks, units, ..., block] and keys[units, ..., key]: float[blocks, ..., block, key], its gradient."""
    queries, keys, kernel = (ops.convert_to_tensor(each) for each in (queries, keys, kernel))  # NumPy's to jax.grad

    def score(_: Tensor, of_block: Tensor) -> tuple[Tensor, Tensor]:
        scores = ops.tensordot(kernel, _hidden(of_block, keys), 1)  # [..., block, key]
        return scores, scores  # TensorFlow's scan carries what has the shape of its results

    def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        upstream = arguments[0] if upstream is None else upstream  # PyTorch is given more, and this one by name

        def add(index: Any, gradients: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            of_queries, of_keys, of_kernel = gradients
            # A graph of TensorFlow runs ten rounds of such a loop at once, and would hold their hidden states together.
            wait = 0 * of_kernel[0]
            hidden = _hidden(queries[index] + wait, keys)  # [units, ..., block, key]
            slope = upstream[index] * (1 - hidden * hidden)
            return (
                _with_row(of_queries, index, ops.sum(slope, axis=-1)),
                of_keys + ops.sum(slope, axis=-2),
                of_kernel + ops.tensordot(hidden, upstream[index], len(upstream.shape) - 1),
            )

        nothing = (ops.zeros_like(queries), ops.zeros_like(keys), ops.zeros_like(kernel))
        of_queries, of_keys, of_kernel = ops.fori_loop(0, ops.shape(queries)[0], add, nothing)
        each_unit = ops.reshape(kernel, (-1, *[1] * (len(keys.shape) - 1)))
        return of_queries * each_unit, of_keys * each_unit, of_kernel

    nothing = ops.zeros((*ops.shape(queries)[2:], ops.shape(keys)[-1]), dtype=queries.dtype)
    return ops.scan(score, nothing, queries)[1], gradient


def _hidden(queries: Tensor, keys: Tensor) -> Tensor:
    """The hidden states of queries[units, ..., query] and keys[units, ..., key]: float[units, ..., query, key]."""
    return ops.tanh(ops.expand_dims(queries, -1) + ops.expand_dims(keys, -2))


def _with_row(rows: Tensor, index: Any, row: Tensor) -> Tensor:
    """`rows` with `row` at `index` of the first axis."""
    start = [index] + [0] * (len(rows.shape) - 1)
    return ops.slice_update(rows, start, ops.expand_dims(row, 0))
