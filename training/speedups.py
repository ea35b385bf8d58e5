"""Faster training steps on TensorFlow, with the same results: XLA where it pays, a fused LSTM.

Each can be dropped without changing what is learned. docs/training.md has the measured gains.
"""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor
from training.batches import ALWAYS_COMPILED
from training.config import TrainConfig


def trains_with_xla(config: TrainConfig) -> bool:
    """Return whether XLA trains this classifier faster than TensorFlow's plain graph.

    XLA fuses the many small operations of local and sparse attention and halves their time. Everything else is as fast
    as a plain graph, which does not have to be compiled for every width.
    """
    model = config.model
    local = model.get("mechanism") in ("local", "sparse") or "attention_width" in model.get("attention", {})
    return ALWAYS_COMPILED or local


def with_fused_lstm(model: keras.Model) -> keras.Model:
    """Return a model with the weights and outputs of `model` whose bidirectional LSTM runs fused.

    Keras runs a recurrent layer as a loop of some twenty small operations per token. TensorFlow has one kernel for an
    LSTM over a whole text and one for its gradient; both need padding on the right, which training guarantees and
    serving does not. Returns `model` itself if nothing in it can be fused. Save `model`, never the fused one.
    """
    if keras.backend.backend() != "tensorflow" or not any(map(_can_be_fused, model.layers)):
        return model
    return keras.models.clone_model(
        model, clone_function=lambda layer: _FusedBidirectional(layer) if _can_be_fused(layer) else layer
    )


def _can_be_fused(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.Bidirectional) or not isinstance(layer.forward_layer, keras.layers.LSTM):
        return False
    lstm = layer.forward_layer
    return (
        layer.merge_mode == "concat"
        and lstm.return_sequences
        and lstm.dropout == lstm.recurrent_dropout == 0
        and lstm.activation is keras.activations.tanh
        and lstm.recurrent_activation is keras.activations.sigmoid
        and lstm.use_bias
        and layer.compute_dtype == "float32"
    )


class _FusedBidirectional(keras.layers.Layer):
    """Compute `encoder` from its own weights: float32[batch, tokens, features] -> [batch, tokens, 2 * units].

    Padding must be on the right; padded positions give zeros.
    """

    def __init__(self, encoder: keras.layers.Bidirectional) -> None:
        super().__init__(name=encoder.name)
        self.encoder = encoder
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create nothing: the encoder holds the weights."""

    def call(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Run both directions, the backward one over each text reversed within its own length."""
        import tensorflow as tf

        lengths = tf.reduce_sum(tf.cast(mask, "int32"), axis=1)  # [batch]
        inputs = tf.transpose(inputs, (1, 0, 2))  # [tokens, batch, features]
        reversed_inputs = tf.reverse_sequence(inputs, lengths, seq_axis=0, batch_axis=1)
        forward = _run_lstm(self.encoder.forward_layer.cell, inputs)  # [tokens, batch, units]
        backward = _run_lstm(self.encoder.backward_layer.cell, reversed_inputs)
        backward = tf.reverse_sequence(backward, lengths, seq_axis=0, batch_axis=1)
        states = tf.transpose(tf.concat((forward, backward), axis=-1), (1, 0, 2))  # [batch, tokens, 2 * units]
        return states * tf.cast(mask, states.dtype)[:, :, None]

    def compute_output_spec(self, inputs: Tensor, mask: Tensor) -> keras.KerasTensor:
        """Return the spec of both directions side by side."""
        return keras.KerasTensor((*inputs.shape[:2], 2 * self.encoder.forward_layer.units), dtype=self.compute_dtype)


def _run_lstm(cell: Any, inputs: Tensor) -> Tensor:
    """Return the states of an LSTM at every token: [tokens, batch, features] -> [tokens, batch, units]."""
    import tensorflow as tf

    zero_state = tf.zeros((tf.shape(inputs)[1], cell.units))
    no_peephole = tf.zeros(cell.units)
    return tf.raw_ops.BlockLSTM(
        seq_len_max=tf.shape(inputs, out_type="int64")[0],
        x=inputs,
        cs_prev=zero_state,
        h_prev=zero_state,
        w=_reorder_gates(ops.concatenate((cell.kernel, cell.recurrent_kernel), axis=0)),
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=_reorder_gates(ops.convert_to_tensor(cell.bias)),
        forget_bias=0.0,  # Keras keeps it in the bias
        cell_clip=-1.0,  # off
    ).h


def _reorder_gates(gates: Tensor) -> Tensor:
    """Reorder Keras' gates (input, forget, candidate, output) for the kernel (input, candidate, forget, output)."""
    input_, forget, candidate, output = ops.split(gates, 4, axis=-1)
    return ops.concatenate((input_, candidate, forget, output), axis=-1)
