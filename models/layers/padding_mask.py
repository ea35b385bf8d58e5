"""The mask of real tokens."""

from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class PaddingMask(BaseLayer):
    """True for every id other than the padding id.

    Input: int[batch, tokens]. Output: bool[batch, tokens].

    Args:
        pad_id: the padding id.
    """

    def __init__(self, pad_id: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pad_id = pad_id

    def call(self, inputs: Tensor) -> Tensor:
        return ops.not_equal(inputs, self.pad_id)

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype="bool")
