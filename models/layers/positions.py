"""Position embeddings, added to the states or concatenated with them."""

import math
from typing import Any, Literal

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.masking import Tensor, zero_padding

_LONGEST_WAVELENGTH = 10000  # over 2 pi, in tokens


def token_positions(states: Tensor, mask: Tensor | None) -> Tensor:
    """Positions counted over real tokens, from 0: int32[batch or 1, tokens].

    `states` [batch, tokens, ...] give the number of tokens where there is no mask bool[batch, tokens].
    """
    if mask is None:
        return ops.expand_dims(ops.arange(ops.shape(states)[1], dtype="int32"), 0)
    return ops.maximum(ops.cumsum(ops.cast(mask, "int32"), axis=1) - 1, 0)  # padding on the left would be at -1


def check_length(states: Tensor, mask: Tensor | None, max_length: int) -> None:
    """Reject more than `max_length` tokens without a mask, which could hide the others."""
    tokens = states.shape[1]
    if mask is None and isinstance(tokens, int) and tokens > max_length:
        raise ValueError(f"Expected at most max_length={max_length} tokens, or a mask. Received {tokens} tokens.")


def table_rows(states: Tensor, mask: Tensor | None, max_length: int) -> Tensor:
    """Each token's row in a table whose last row is for all later tokens too: int32[batch or 1, tokens]."""
    check_length(states, mask, max_length)
    return ops.minimum(token_positions(states, mask), max_length - 1)


class _PositionEmbedding(BaseLayer):
    """Base of the position embeddings: validation, output shape and merging."""

    def __init__(self, merge: Literal["add", "concat"] = "add", size: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if merge not in ("add", "concat"):
            raise ValueError(f"Expected merge 'add' or 'concat'. Received {merge!r}.")
        if size is not None and size < 1:
            raise ValueError(f"Expected a size of at least 1, or None for the features. Received size={size}.")
        self.merge = merge
        self.size = size

    def compute_output_spec(self, inputs: Tensor, mask: Tensor | None = None) -> keras.KerasTensor:
        features = inputs.shape[-1]
        width = features + self._width(features) if self.merge == "concat" else features
        return keras.KerasTensor((*inputs.shape[:-1], width), self.compute_dtype)

    def _width(self, features: int) -> int:
        """Size of the embedding for states with this many features."""
        if self.size is None:
            return features
        if self.merge == "add" and self.size != features:
            raise ValueError(f"Expected size={features}, the features it is added to. Received size={self.size}.")
        return self.size

    def _merged(self, inputs: Tensor, embedding: Tensor, mask: Tensor | None) -> Tensor:
        """Merge the embedding [batch or 1, tokens, size] with the states; zeros on padding."""
        embedding = ops.cast(embedding, inputs.dtype)
        if self.merge == "add":
            return zero_padding(inputs + embedding, mask)
        embedding = ops.broadcast_to(embedding, (*ops.shape(inputs)[:2], embedding.shape[-1]))
        return zero_padding(ops.concatenate([inputs, embedding], axis=-1), mask)  # [batch, tokens, features + size]


@keras.saving.register_keras_serializable("heed")
class SinusoidalPositionEmbedding(_PositionEmbedding):
    """Fixed sines and cosines of each position at geometrically spaced frequencies.

        angle_j = p / 10000^(2j / size)  for j < size / 2, p the position
        halves:       [cos angle_0 ... cos angle_size/2-1 | sin angle_0 ... sin angle_size/2-1]
        interleaved:  [sin angle_0, cos angle_0, sin angle_1, cos angle_1, ...]

    Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), section 3.5, in the two layouts of
    bojone/attention. There padding counts as positions; here positions count real tokens, so the embedding does not
    depend on padding.

    Input: float[batch, tokens, features]; mask bool[batch, tokens], which is passed on.
    Output: float[batch, tokens, features], or [batch, tokens, features + size] for "concat"; zeros on padding.

    Args:
        merge: "add" to the states or "concat" after them.
        size: even; must equal the features for "add". None for the features.
        layout: "halves" or "interleaved".
    """

    def __init__(
        self,
        merge: Literal["add", "concat"] = "add",
        size: int | None = None,
        layout: Literal["halves", "interleaved"] = "halves",
        **kwargs: Any,
    ) -> None:
        super().__init__(merge, size, **kwargs)
        if layout not in ("halves", "interleaved"):
            raise ValueError(f"Expected layout 'halves' or 'interleaved'. Received {layout!r}.")
        if size is not None:
            _check_even(size)
        self.layout = layout

    def build(self, input_shape: tuple[int, ...]) -> None:
        _check_even(self._width(input_shape[-1]))

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        size = self._width(inputs.shape[-1])
        # Always float32: float16 cannot represent odd positions above 2048.
        positions = ops.cast(token_positions(inputs, mask), "float32")
        exponents = ops.arange(size // 2, dtype="float32") * (2 / size)
        angles = ops.expand_dims(positions, -1) * ops.exp(-math.log(_LONGEST_WAVELENGTH) * exponents)
        cosines, sines = ops.cos(angles), ops.sin(angles)  # [batch or 1, tokens, size / 2]
        if self.layout == "halves":
            embedding = ops.concatenate([cosines, sines], axis=-1)  # [batch or 1, tokens, size]
        else:
            pairs = ops.stack([sines, cosines], axis=-1)  # [batch or 1, tokens, size / 2, 2]
            embedding = ops.reshape(pairs, (*ops.shape(angles)[:2], size))
        return self._merged(inputs, embedding, mask)


@keras.saving.register_keras_serializable("heed")
class TrainablePositionEmbedding(_PositionEmbedding):
    """A learned vector for each position.

        embedding_t = table[p],  p the position of token t among the real tokens

    Gehring et al. 2017, "Convolutional Sequence to Sequence Learning" (arXiv 1705.03122), section 3.1. Follows
    bojone/attention, which leaves positions past the table undefined. Here they share the last row, and a longer text
    without a mask is an error.

    Input: float[batch, tokens, features]; mask bool[batch, tokens], which is passed on.
    Output: float[batch, tokens, features], or [batch, tokens, features + size] for "concat"; zeros on padding.

    Args:
        max_length: rows of the table.
        merge: "add" to the states or "concat" after them.
        size: of a vector; must equal the features for "add". None for the features.
        initializer: of the table.
    """

    def __init__(
        self,
        max_length: int,
        merge: Literal["add", "concat"] = "add",
        size: int | None = None,
        initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(merge, size, **kwargs)
        if max_length < 1:
            raise ValueError(f"Expected max_length of at least 1. Received max_length={max_length}.")
        self.max_length = max_length
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: tuple[int, ...]) -> None:
        shape = (self.max_length, self._width(input_shape[-1]))
        self.table = self.add_weight(name="table", shape=shape, initializer=self.initializer.clone())

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        rows = table_rows(inputs, mask, self.max_length)
        return self._merged(inputs, ops.take(self.table, rows, axis=0), mask)


def _check_even(size: int) -> None:
    if size % 2:
        raise ValueError(f"Expected an even size: half sines, half cosines. Received size={size}.")
