"""Additive scores between all queries and keys, without holding a hidden state for every pair of them."""

import math
from typing import Any

from keras import ops

from models.masking import Tensor

# Measured: fewer are slower, as the loop and its sum cost more passes; more hold more maps.
_UNITS_AT_ONCE = 4


def additive_scores(queries: Tensor, keys: Tensor, kernel: Tensor) -> Tensor:
    """The scores e_tt' = sum over units u of kernel_u * tanh(queries_tu + keys_t'u).

    Written out at once, the hidden states are [..., query, key, units], and a training step keeps them. Here a loop
    adds them up, a few units at a time, and the gradient is a second loop that computes each hidden state again.

    Args:
        queries: float[..., query, units].
        keys: float[..., key, units].
        kernel: float[units].

    Returns:
        float[..., query, key].
    """
    # Units first: what a round of the loop reads then lies together.
    score = ops.custom_gradient(_weighted_tanh)
    return score(ops.moveaxis(queries, -1, 0), ops.moveaxis(keys, -1, 0), ops.convert_to_tensor(kernel))


def _weighted_tanh(queries: Tensor, keys: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
    """Of queries[units, ..., query], keys[units, ..., key] and kernel[units], the scores and their gradient."""
    queries, keys, kernel = (ops.convert_to_tensor(each) for each in (queries, keys, kernel))  # NumPy's to jax.grad
    units = kernel.shape[0]
    at_once = math.gcd(units, _UNITS_AT_ONCE)
    rounds = [ops.reshape(each, (units // at_once, at_once, *ops.shape(each)[1:])) for each in (queries, keys, kernel)]

    def add(step: Any, scores: Tensor) -> Tensor:
        # A product and not a sum of several: of such a sum TensorFlow's graph optimiser makes one AddN, and the rounds
        # of a loop in training fight for its buffer ("AlreadyExistsError: ... AddOpsRewrite ... tmp_var").
        of_queries, of_keys, of_kernel = (each[step] for each in rounds)
        return scores + ops.tensordot(of_kernel, _hidden(of_queries, of_keys, scores), 1)

    def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        upstream = arguments[0] if upstream is None else upstream  # PyTorch is given more, and this one by name

        def add(unit: Any, gradients: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            of_queries, of_keys, of_kernel = gradients
            hidden = _hidden(queries[unit], keys[unit], of_kernel)
            weighted = upstream * hidden
            slope = kernel[unit] * (upstream - weighted * hidden)  # [..., query, key]
            return (
                _with_row(of_queries, unit, ops.sum(slope, axis=-1)),
                _with_row(of_keys, unit, ops.sum(slope, axis=-2)),
                _with_row(of_kernel, unit, ops.sum(weighted)),
            )

        nothing = (ops.zeros_like(queries), ops.zeros_like(keys), ops.zeros_like(kernel))
        return ops.fori_loop(0, units, add, nothing)

    nothing = ops.zeros_like(ops.expand_dims(queries[0], -1) + ops.expand_dims(keys[0], -2))
    return ops.fori_loop(0, units // at_once, add, nothing), gradient


def _hidden(queries: Tensor, keys: Tensor, earlier: Tensor) -> Tensor:
    """The tanh of queries[..., query] + keys[..., key], computed when `earlier` is: float[..., query, key].

    A graph of TensorFlow runs ten rounds of a loop at once, and would hold their maps together.
    """
    wait = 0 * ops.reshape(earlier, (-1,))[0]
    return ops.tanh(ops.expand_dims(queries, -1) + ops.expand_dims(keys + wait, -2))


def _with_row(rows: Tensor, index: Any, row: Tensor) -> Tensor:
    """`rows` with `row` at `index` of the first axis."""
    start = [index] + [0] * (len(rows.shape) - 1)
    return ops.slice_update(rows, start, ops.expand_dims(row, 0))
