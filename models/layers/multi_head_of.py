"""Several copies of any attention, side by side."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from models.masking import Tensor, zero_padding


@keras.saving.register_keras_serializable("heed")
class MultiHead(keras.layers.Layer):
    """`heads` copies of a layer, each with weights of its own; their outputs stand side by side.

        x_h = x W_h + b_h, or x if there is no hidden_dim
        output = [layer_1(x_1) | ... | layer_H(x_H)]

    It follows `keras-multi-head` 0.29, whose copies start alike where their initialisers have a seed, whose hidden_dim
    fails unless it is that of the input, and whose penalty is made of constants. That stacks the outputs on a new last
    axis, as `stack=True` does here.

    The penalty, if there is one, wants chosen weights of the copies to be orthogonal to each other and of length 1:

        reg_factor * ||K K^T - I||^2,  row h of K a weight of copy h, flattened

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, heads * copy features]; of a layer that pools, [batch, heads * copy features]. With
    `return_attention_scores=True` also the maps float[batch, heads, query, key], the weights float[batch, heads, key]
    of a layer that pools; copies of several heads put theirs one after the other. With `return_values=True` also the
    values float[batch, tokens, heads * copy features] that the maps are weights of: those that a copy returns, and
    otherwise what it is given, zeros on padding.

    Args:
        layer: the attention that is copied; it stays unbuilt itself, and its copies compute in the dtype of this layer.
        heads: how many copies.
        hidden_dim: features of x_h; None to give every copy the input.
        use_bias: whether there is b_h.
        reg_index: which of a copy's weights the penalty is of, by its place in `weights`; a list for several; None for
            no penalty.
        reg_slice: the part of the weight, a slice, or a tuple of slices; a list of these, one for each `reg_index`;
            None for the whole weight.
        reg_factor: how much the penalty counts; a list of one for each `reg_index`.
        stack: whether the outputs are stacked on a new last axis instead.
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
        outputs = [answer[0] for answer in answers]
        output = ops.stack(outputs, axis=-1) if self.stack else ops.concatenate(outputs, axis=-1)
        others = []
        if return_attention_scores:
            scores = [answer[1] for answer in answers]
            several = len(scores[0].shape) == 4
            others.append(ops.concatenate(scores, axis=1) if several else ops.stack(scores, axis=1))
        if return_values:
            others.append(ops.concatenate([answer[-1] for answer in answers], axis=-1))
        return (output, *others) if others else output

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Any:
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "heads": self.heads,
            "hidden_dim": self.hidden_dim,
            "use_bias": self.use_bias,
            "reg_index": None if self.reg_index is None else list(self.reg_index),
            "reg_slice": [
                None if part is None else [[axis.start, axis.stop, axis.step] for axis in part]
                for part in self.reg_slice
            ],
            "reg_factor": list(self.reg_factor),
            "stack": self.stack,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "MultiHead":
        layer = keras.saving.deserialize_keras_object(config["layer"], custom_objects=custom_objects)
        return super().from_config({**config, "layer": layer})

    def _copy(self, head: int) -> keras.layers.Layer:
        config = _with_other_seeds(self.layer.get_config(), head)
        return type(self.layer).from_config({**config, "name": f"head_{head}", "dtype": self.dtype_policy})

    def _states(self, inputs: Tensor) -> list[Tensor]:
        """What each copy is given: float[batch, tokens, features or hidden_dim]."""
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
        """Output first, scores second and values last, as far as they are asked for."""
        takes = inspect.signature(copy.call).parameters
        named: dict[str, Any] = {"mask": mask} if "mask" in takes else {}
        if return_attention_scores:
            if "return_attention_scores" not in takes:
                raise ValueError(f"Expected a layer that can return its scores. Received {type(copy).__name__}.")
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
    """A slice for each axis, of what a caller or a config gives: a slice, several, or [start, stop, step] of each."""
    if part is None:
        return None
    axes = (part,) if isinstance(part, slice) else part
    return tuple(axis if isinstance(axis, slice) else slice(*axis) for axis in axes)


def _with_other_seeds(config: Any, head: int) -> Any:
    """The config with every seed in it moved on by `head`: copies of a seeded initializer would start alike."""
    if isinstance(config, dict):
        return {
            key: value + head if key == "seed" and isinstance(value, int) else _with_other_seeds(value, head)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [_with_other_seeds(each, head) for each in config]
    return config
