"""The recurrent encoder of a classifier, for texts that are padded on the right alone."""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor


def with_fused_recurrence(model: keras.Model) -> keras.Model:
    """A model of the same weights and outputs, to train and read with: quicker where it can be, else `model` itself.

    Keras runs a recurrent layer as a loop of some twenty small operations a token and direction. TensorFlow has one
    kernel for the LSTM over a whole text and another for its gradient; both want padding on the right, where training
    puts it and a served model need not have it. What is saved is `model`: only the way to compute it is another.
    """
    if keras.backend.backend() != "tensorflow" or not any(map(_can_be_fused, model.layers)):
        return model
    return keras.models.clone_model(
        model, clone_function=lambda layer: _FusedBidirectional(layer) if _can_be_fused(layer) else layer
    )


def _can_be_fused(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.Bidirectional) or not isinstance(layer.forward_layer, keras.layers.LSTM):
        return False
    one_way = layer.forward_layer
    return (
        layer.merge_mode == "concat"
        and one_way.return_sequences
        and one_way.dropout == one_way.recurrent_dropout == 0
        and one_way.activation is keras.activations.tanh
        and one_way.recurrent_activation is keras.activations.sigmoid
        and one_way.use_bias
        and layer.compute_dtype == "float32"
    )


class _FusedBidirectional(keras.layers.Layer):
    """What `encoder` gives, from its own weights: float32[batch, tokens, features] -> [batch, tokens, 2 * units].

    Padded positions, which have to be on the right, give zeros.
    """

    def __init__(self, encoder: keras.layers.Bidirectional) -> None:
        super().__init__(name=encoder.name)
        self.encoder = encoder
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """The weights are the encoder's, and there already."""

    def call(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Both directions, the backward one over each text turned round within its own length."""
        import tensorflow as tf

        lengths = tf.reduce_sum(tf.cast(mask, "int32"), axis=1)  # [batch]
        onward = tf.transpose(inputs, (1, 0, 2))  # [tokens, batch, features]
        turned = tf.reverse_sequence(onward, lengths, seq_axis=0, batch_axis=1)
        forward = _read(self.encoder.forward_layer.cell, onward)  # [tokens, batch, units]
        backward = _read(self.encoder.backward_layer.cell, turned)
        backward = tf.reverse_sequence(backward, lengths, seq_axis=0, batch_axis=1)
        states = tf.transpose(tf.concat((forward, backward), axis=-1), (1, 0, 2))  # [batch, tokens, 2 * units]
        return states * tf.cast(mask, states.dtype)[:, :, None]

    def compute_output_spec(self, inputs: Tensor, mask: Tensor) -> keras.KerasTensor:
        """Two directions side by side."""
        return keras.KerasTensor((*inputs.shape[:2], 2 * self.encoder.forward_layer.units), dtype=self.compute_dtype)


def _read(cell: Any, inputs: Tensor) -> Tensor:
    """The states of an LSTM from its first token to its last: [tokens, batch, features] -> [tokens, batch, units]."""
    import tensorflow as tf

    nothing = tf.zeros((tf.shape(inputs)[1], cell.units))
    no_peephole = tf.zeros(cell.units)
    return tf.raw_ops.BlockLSTM(
        seq_len_max=tf.shape(inputs, out_type="int64")[0],
        x=inputs,
        cs_prev=nothing,
        h_prev=nothing,
        w=_in_order(ops.concatenate((cell.kernel, cell.recurrent_kernel), axis=0)),
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=_in_order(ops.convert_to_tensor(cell.bias)),
        forget_bias=0.0,  # Keras has it in the bias
        cell_clip=-1.0,  # not at all
    ).h


def _in_order(gates: Tensor) -> Tensor:
    """Gates as Keras keeps them, input, forget, candidate, output, in the order of the kernel: forget third."""
    entrance, forget, candidate, exit_ = ops.split(gates, 4, axis=-1)
    return ops.concatenate((entrance, candidate, forget, exit_), axis=-1)
