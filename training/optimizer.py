"""Adam, in one pass over the numbers."""

from typing import Any

import keras

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
