"""Adam in one pass over the numbers, and Adagrad for tables of which a batch touches few rows."""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor


def make_adam(learning_rate: Any, *, gradient_norm: float) -> keras.optimizers.Optimizer:
    """Adam on the loaded backend; gradients of a larger global norm than `gradient_norm` are scaled down to it.

    Keras writes Adam as some ten operations, each of them a pass over a whole variable. The table of word vectors is
    nine tenths of a classifier's numbers, so that was a tenth of a training step, and more while another process wants
    the memory too. TensorFlow has the same update as one operation.
    """
    adam = OnePassAdam if keras.backend.backend() == "tensorflow" else keras.optimizers.Adam
    return adam(learning_rate, global_clipnorm=gradient_norm, name="adam")


class OnePassAdam(keras.optimizers.Adam):
    """Keras' Adam, with TensorFlow's kernel for the update: the same numbers, to the rounding."""

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """One variable, in place."""
        import tensorflow as tf

        position = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[position].value.handle,
            v=self._velocities[position].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.convert_to_tensor(gradient),
        )


class TableAdagrad(keras.optimizers.Adagrad):
    """Adagrad (Duchi et al. 2011) for the two tables of `NgramAttention`.

    A batch touches few of the rows. On TensorFlow no other row costs time; elsewhere the update passes over all.

    Args:
        learning_rate: of the values.
        attention_rate: learning rate of the attention logits, as a part of that of the values.
        pull: gradient that draws a value back, as a part of its distance from where it was when training began.
    """

    def __init__(self, learning_rate: Any, *, attention_rate: float, pull: float) -> None:
        super().__init__(learning_rate, initial_accumulator_value=1e-8, epsilon=0.0, name="adagrad")
        self.attention_rate = attention_rate
        self.pull = pull

    def build(self, variables: list[keras.Variable]) -> None:
        """Remember where the values start."""
        if self.built:
            return
        super().build(variables)
        self._starts = [
            self.add_variable_from_reference(variable, name="start") if _holds_values(variable) else None
            for variable in variables
        ]
        for variable, start in zip(variables, self._starts, strict=True):
            if start is not None:
                start.assign(variable)

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """One table, in place."""
        position = self._get_variable_index(variable)
        start, accumulator = self._starts[position], self._accumulators[position]
        rate = ops.cast(learning_rate, variable.dtype) * (1.0 if _holds_values(variable) else self.attention_rate)
        if keras.backend.backend() == "tensorflow":
            _update_rows(gradient, variable, accumulator, start, rate, self.pull)
            return
        if start is not None:
            gradient = gradient + ops.where(gradient != 0, self.pull * (variable - start), 0.0)
        self.assign_add(accumulator, ops.square(gradient))
        self.assign_sub(variable, rate * gradient / ops.sqrt(accumulator))


def _holds_values(variable: keras.Variable) -> bool:
    return len(variable.shape) == 2


def _update_rows(gradient: Any, variable: Any, accumulator: Any, start: Any, rate: Any, pull: float) -> None:
    """Adagrad on the rows of `gradient`, a `tf.IndexedSlices` in which a row may stand several times."""
    import tensorflow as tf

    rows, place = tf.unique(gradient.indices)
    summed = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    if start is not None:
        summed += pull * (tf.gather(variable, rows) - tf.gather(start.value, rows))
    tf.raw_ops.ResourceSparseApplyAdagradV2(
        var=variable.handle,
        accum=accumulator.value.handle,
        lr=rate,
        epsilon=0.0,
        grad=summed,
        indices=rows,
    )
