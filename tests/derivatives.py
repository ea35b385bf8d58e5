"""Derivatives of a function by whichever backend Keras runs on."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def derivatives(function: Callable[..., Any], *arguments: np.ndarray) -> list[np.ndarray]:
    """Of a scalar function with respect to each of its arguments."""
    if keras.backend.backend() == "jax":
        import jax

        return [np.asarray(each) for each in jax.grad(function, argnums=tuple(range(len(arguments))))(*arguments)]
    if keras.backend.backend() == "torch":
        import torch

        leaves = [torch.tensor(each, requires_grad=True) for each in arguments]
        function(*leaves).backward()
        return [leaf.grad.numpy() for leaf in leaves]
    import tensorflow as tf

    leaves = [tf.constant(each) for each in arguments]
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        value = function(*leaves)
    return [each.numpy() for each in tape.gradient(value, leaves)]
