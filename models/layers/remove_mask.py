"""States without the mask that Keras carries along with them."""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class RemoveMask(keras.layers.Layer):
    """The inputs as they are, without their mask: for layers that take it as an argument and warn of any other.

    Input and output: a tensor of any shape and dtype.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Nothing is learned."""

    def call(self, inputs: Tensor) -> Tensor:
        return ops.copy(inputs)  # the mask hangs on the tensor

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        return None

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config())
