"""The base of the layers: configs and weights derived from constructor arguments."""

import inspect
from typing import Any

import keras

from models.masking import Tensor

_SERIALIZED = (
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.layers.Layer,
)


class BaseLayer(keras.layers.Layer):
    """A layer that keeps every constructor argument in the attribute of the same name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    @classmethod
    def get_custom_objects(cls) -> dict[str, type[keras.layers.Layer]]:
        """Return the `custom_objects` to load a model with this layer."""
        return {cls.__name__: cls}

    def get_config(self) -> dict[str, Any]:
        own = {name: _serialized(getattr(self, name)) for name in argument_names(type(self))}
        return {**super().get_config(), **own}

    def _add(self, name: str, shape: tuple[int | None, ...], kind: str = "kernel", initializer: Any = None) -> Tensor:
        """Add a weight with the initializer, regularizer and constraint that the constructor takes for its kind."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer or getattr(self, f"{kind}_initializer").clone(),  # or it would give equal weights
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def _add_bias(self, name: str, width: int) -> Tensor:
        return self._add(name, (width,), "bias")


class UnmaskedLayer(BaseLayer):
    """A layer whose output has no mask: it is not states of the tokens, or loses their mask on purpose."""

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None


def argument_names(layer: type[keras.layers.Layer]) -> list[str]:
    """Names of the constructor's arguments, including those passed on to base classes other than Keras' Layer."""
    bases = [base for base in layer.__mro__ if issubclass(base, keras.layers.Layer) and base is not keras.layers.Layer]
    parameters = [
        parameter
        for base in reversed(bases)
        if "__init__" in vars(base)
        for parameter in inspect.signature(base).parameters.values()
    ]
    return list(dict.fromkeys(each.name for each in parameters if each.kind is not each.VAR_KEYWORD))


def _serialized(value: Any) -> Any:
    if isinstance(value, _SERIALIZED):
        return keras.saving.serialize_keras_object(value)
    if callable(value):
        return keras.activations.serialize(value)
    return list(value) if isinstance(value, list | tuple) else value
