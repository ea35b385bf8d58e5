"""Drop the Keras mask of a tensor."""

import keras
from keras import ops

from models.layers.base import UnmaskedLayer
from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class RemoveMask(UnmaskedLayer):
    """The inputs without their Keras mask, for layers that take a mask argument and warn about any other.

    Input and output: a tensor of any shape and dtype.
    """

    def call(self, inputs: Tensor) -> Tensor:
        return ops.copy(inputs)  # Keras attaches the mask to the tensor
