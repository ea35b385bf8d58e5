"""Additive scores between all queries and keys, in bounded memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from keras import ops

from models.masking import Tensor
from models.windows import in_blocks

# Hidden-state values in memory at once: 4 MB of float32, enough for 181 tokens with 32 units. At 512 and 1,024 tokens
# a quarter of this takes a third longer, and four times as much is no faster.
HELD_AT_ONCE = 2**20

_without_loops = ContextVar("without_loops", default=False)


@contextmanager
def without_loops() -> Iterator[None]:
    """Trace graphs without loops, for export formats that have none."""
    token = _without_loops.set(True)
    try:
        yield
    finally:
        _without_loops.reset(token)


def additive_scores(queries: Tensor, keys: Tensor, kernel: Tensor) -> Tensor:
    """Compute e_tt' = sum over units u of kernel_u * tanh(queries_tu + keys_t'u).

    float[..., query, units], float[..., key, units], float[units] -> float[..., query, key].

    A short text is computed in one step, because a loop is a third slower at 128 tokens. A longer text is computed in
    blocks of queries; the gradient is a second loop that recomputes the hidden states.
    """
    tokens, hidden_per_query = ops.shape(queries)[-2], math.prod(ops.shape(keys))
    largest_block = HELD_AT_ONCE // (hidden_per_query + 1) + 1
    rounds = (tokens + largest_block - 1) // largest_block
    # JAX infers shapes with symbolic sizes, which are neither integers nor tensors.
    one_round = rounds <= 1 if isinstance(rounds, int) else not ops.is_tensor(rounds)
    if one_round or _without_loops.get():
        hidden = ops.tanh(ops.expand_dims(queries, -2) + ops.expand_dims(keys, -3))  # [..., query, key, units]
        return ops.tensordot(hidden, kernel, 1)
    block = (tokens + rounds - 1) // rounds
    blocks = ops.moveaxis(in_blocks(queries, block), -3, 0)  # [blocks, ..., block, units]
    score = ops.custom_gradient(_scores_of_blocks)
    # Units come first so that the sum over them reads long contiguous rows.
    scores = score(ops.moveaxis(blocks, -1, 1), ops.moveaxis(keys, -1, 0), ops.convert_to_tensor(kernel))
    scores = ops.moveaxis(scores, 0, -3)  # [..., blocks, block, key]
    return ops.reshape(scores, (*ops.shape(scores)[:-3], -1, ops.shape(keys)[-2]))[..., :tokens, :]


def _scores_of_blocks(queries: Tensor, keys: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
    """Scores float[blocks, ..., block, key] of queries[blocks, units, ..., block] with keys[units, ..., key], and the
    function of their gradient."""
    queries, keys, kernel = (ops.convert_to_tensor(each) for each in (queries, keys, kernel))  # jax.grad passes NumPy

    def score(_: Tensor, of_block: Tensor) -> tuple[Tensor, Tensor]:
        scores = ops.tensordot(kernel, _hidden(of_block, keys), 1)  # [..., block, key]
        return scores, scores  # TensorFlow's scan needs a carry shaped like the result

    def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        rest = [0] * (len(queries.shape) - 1)
        upstream = arguments[0] if upstream is None else upstream  # PyTorch passes it by name

        def add(index: Any, gradients: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            of_queries, of_keys, of_kernel = gradients
            # Depend on the previous round: TensorFlow would run ten in parallel and hold all their hidden states.
            previous_round = 0 * of_kernel[0]
            hidden = _hidden(queries[index] + previous_round, keys)  # [units, ..., block, key]
            slope = upstream[index] * (1 - hidden * hidden)
            return (
                ops.slice_update(of_queries, [index, *rest], ops.expand_dims(ops.sum(slope, axis=-1), 0)),
                of_keys + ops.sum(slope, axis=-2),
                of_kernel + ops.tensordot(hidden, upstream[index], len(upstream.shape) - 1),
            )

        zeros = (ops.zeros_like(queries), ops.zeros_like(keys), ops.zeros_like(kernel))
        of_queries, of_keys, of_kernel = ops.fori_loop(0, ops.shape(queries)[0], add, zeros)
        per_unit = ops.reshape(kernel, (-1, *[1] * (len(keys.shape) - 1)))  # [units, 1, ...]
        return of_queries * per_unit, of_keys * per_unit, of_kernel

    carry = ops.zeros((*ops.shape(queries)[2:], ops.shape(keys)[-1]), dtype=queries.dtype)
    return ops.scan(score, carry, queries)[1], gradient


def _hidden(queries: Tensor, keys: Tensor) -> Tensor:
    """Hidden states float[units, ..., query, key] of queries[units, ..., query] and keys[units, ..., key]."""
    return ops.tanh(ops.expand_dims(queries, -1) + ops.expand_dims(keys, -2))
