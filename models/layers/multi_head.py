"""Several copies of any attention layer, side by side."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.layers.outputs import outputs
from models.masking import Tensor, zero_padding


@keras.saving.register_keras_serializable("heed")
class MultiHead(BaseLayer):
    """`heads` copies of a layer with separate weights; their outputs are concatenated.

        x_h = x W_h + b_h, or x without a hidden_dim
        output = [layer_1(x_1) | ... | layer_H(x_H)]

    Follows `keras-multi-head` 0.29, which stacks the outputs on a new last axis, as `stack=True` does here. It fixes
    three faults: copies of a seeded layer start alike there, hidden_dim must equal the input width, and the penalty has
    no gradient.

    The optional penalty pushes chosen weights of the copies towards orthonormality:

        reg_factor * ||K K^T - I||^2,  where row h of K is a flattened weight of copy h

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, heads * copy features], or [batch, heads * copy features] if the layer pools. With
    `return_attention_scores=True` also the maps float[batch, heads, query, key] (the weights float[batch, heads, key]
    if the layer pools); maps of multi-head copies are concatenated. With `return_values=True` also the values
    float[batch, tokens, heads * copy features] that the maps weight: those that a copy returns, or else its input,
    zeros on padding.

    Args:
        layer: the attention to copy. It stays unbuilt, and its copies compute in the dtype of this layer.
        heads: number of copies.
        hidden_dim: features of x_h; None to pass the input to every copy.
        use_bias: learn b_h.
        reg_index: index in a copy's `weights` of the penalised weight; a list for several, None for no penalty.
        reg_slice: the penalised part of the weight, a slice or a tuple of slices; a list with one for each
            `reg_index`; None for the whole weight.
        reg_factor: factor of the penalty, or a list with one for each `reg_index`.
        stack: stack the outputs on a new last axis instead.
        kernel_initializer: of W.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        heads: int = 1,
        *,
        hidden_dim: int | None = None,
        use_bias: bool = True,
        reg_index: int | Sequence[int] | None = None,
        reg_slice: Any = None,
        reg_factor: float | Sequence[float] = 0.0,
        stack: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"Expected a layer to copy. Received {layer!r}.")
        if heads < 1 or (hidden_dim is not None and hidden_dim < 1):
            raise ValueError(f"Expected heads and hidden_dim of at least 1. Received {heads} and {hidden_dim}.")
        self.layer = type(layer).from_config(layer.get_config())
        self.heads = heads
        self.hidden_dim = hidden_dim
        self.use_bias = use_bias
        self.reg_index = [reg_index] if isinstance(reg_index, int) else reg_index
        count = len(self.reg_index or ())
        self.reg_slice = [_slices(each) for each in (reg_slice if isinstance(reg_slice, list) else [reg_slice] * count)]
        self.reg_factor = list(reg_factor) if isinstance(reg_factor, Sequence) else [reg_factor] * count
        if not count == len(self.reg_slice) == len(self.reg_factor):
            raise ValueError(
                f"Expected one reg_slice and one reg_factor for each reg_index. Received reg_index={reg_index}, "
                f"reg_slice={reg_slice}, reg_factor={reg_factor}."
            )
        self.stack = stack
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel, self.bias = None, None
        if self.hidden_dim is not None:
            width = self.heads * self.hidden_dim
            self.kernel = self.add_weight(
                name="kernel", shape=(input_shape[-1], width), initializer=self.kernel_initializer.clone()
            )  # W
            self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros") if self.use_bias else None
            input_shape = (*input_shape[:-1], self.hidden_dim)
        self.copies = [self._copy(head) for head in range(self.heads)]
        for copy in self.copies:
            copy.build(input_shape)

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        for index, part, factor in zip(self.reg_index or (), self.reg_slice, self.reg_factor, strict=True):
            self.add_loss(factor * self._penalty(index, part))
        answers = [
            self._answer(copy, states, mask, return_attention_scores, return_values)
            for copy, states in zip(self.copies, self._states(inputs), strict=True)
        ]
        combine = ops.stack if self.stack else ops.concatenate
        output = combine([answer[0] for answer in answers], axis=-1)
        maps, values = None, None
        if return_attention_scores:
            scores = [answer[1] for answer in answers]
            maps = ops.concatenate(scores, axis=1) if len(scores[0].shape) == 4 else ops.stack(scores, axis=1)
        if return_values:
            values = ops.concatenate([answer[-1] for answer in answers], axis=-1)
        return outputs(output, maps, values)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Any:
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reg_slice": [
                None if part is None else [[axis.start, axis.stop, axis.step] for axis in part]
                for part in self.reg_slice
            ],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "MultiHead":
        layer = keras.saving.deserialize_keras_object(config["layer"], custom_objects=custom_objects)
        return super().from_config({**config, "layer": layer})

    def _copy(self, head: int) -> keras.layers.Layer:
        config = _with_other_seeds(self.layer.get_config(), head)
        return type(self.layer).from_config({**config, "name": f"head_{head}", "dtype": self.dtype_policy})

    def _states(self, inputs: Tensor) -> list[Tensor]:
        """Inputs of the copies: float[batch, tokens, features or hidden_dim] each."""
        if self.hidden_dim is None:
            return [inputs] * self.heads
        states = ops.matmul(inputs, self.kernel)  # [batch, tokens, heads * hidden_dim]
        return ops.split(states if self.bias is None else states + self.bias, self.heads, axis=-1)

    def _answer(
        self,
        copy: keras.layers.Layer,
        states: Tensor,
        mask: Tensor | None,
        return_attention_scores: bool,
        return_values: bool,
    ) -> list[Tensor]:
        """Call one copy. Returns its output, then the scores and values that are requested."""
        takes = inspect.signature(copy.call).parameters
        named: dict[str, Any] = {"mask": mask} if "mask" in takes else {}
        if return_attention_scores:
            if "return_attention_scores" not in takes:
                raise ValueError(f"Expected a layer that returns attention scores. Received {type(copy).__name__}.")
            named["return_attention_scores"] = True
        own_values = return_values and "return_values" in takes
        if own_values:
            named["return_values"] = True
        answer = copy(states, **named)
        answers = list(answer) if isinstance(answer, list | tuple) else [answer]
        return [*answers, zero_padding(states, mask)] if return_values and not own_values else answers

    def _penalty(self, index: int, part: tuple[slice, ...] | None) -> Tensor:
        weights = [copy.weights[index] for copy in self.copies]
        chosen = [ops.convert_to_tensor(weight)[... if part is None else part] for weight in weights]
        rows = ops.cast(ops.stack([ops.reshape(each, (-1,)) for each in chosen]), "float32")  # [heads, values]
        return ops.sum(ops.square(ops.matmul(rows, ops.transpose(rows)) - ops.eye(self.heads, dtype="float32")))


def _slices(part: Any) -> tuple[slice, ...] | None:
    """One slice per axis, from a slice, several slices, or [start, stop, step] per axis as in a config."""
    if part is None:
        return None
    axes = (part,) if isinstance(part, slice) else part
    return tuple(axis if isinstance(axis, slice) else slice(*axis) for axis in axes)


def _with_other_seeds(config: Any, head: int) -> Any:
    """Add `head` to every seed in the config, so that copies of a seeded layer start with different weights."""
    if isinstance(config, dict):
        return {
            key: value + head if key == "seed" and isinstance(value, int) else _with_other_seeds(value, head)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [_with_other_seeds(each, head) for each in config]
    return config
