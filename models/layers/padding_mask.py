"""Which positions hold a token."""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class PaddingMask(keras.layers.Layer):
    """True where an id is not the id of padding.

    Input: int[batch, tokens]. Output: bool[batch, tokens].

    Args:
        pad_id: the id that fills a text up to the length of its batch.
    """

    def __init__(self, pad_id: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pad_id = pad_id

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Nothing is learned."""

    def call(self, inputs: Tensor) -> Tensor:
        return ops.not_equal(inputs, self.pad_id)

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype="bool")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pad_id": self.pad_id}
