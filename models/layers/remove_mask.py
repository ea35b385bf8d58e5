"""Drop the Keras mask of a tensor."""

from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class RemoveMask(BaseLayer):
    """The inputs without their Keras mask, for layers that take a mask argument and warn about any other.

    Input and output: a tensor of any shape and dtype.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        return ops.copy(inputs)  # Keras attaches the mask to the tensor

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        return None
