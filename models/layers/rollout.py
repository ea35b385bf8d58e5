"""Attention rollout: one map from the last block to the tokens."""

from typing import Any

import keras
from keras import ops

from models.layers.base import UnmaskedLayer
from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class AttentionRollout(UnmaskedLayer):
    """Product of the maps of stacked blocks: where the last block looks among the inputs of the first.

        A~_l = (mean over heads of A_l + I) / 2,   R_1 = A~_1,   R_l = A~_l R_(l-1)

    Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928), section 3. The identity
    stands for the residual connection. Heads count equally, and values, norms and feed-forward networks are ignored, so
    this is an approximation for Transformer blocks. Without the residual it is the plain product of the maps, which is
    exact if only maps stand between the inputs and the output: A_2 (A_1 x) = (A_2 A_1) x.

    Input: a list of maps from the first block to the last, each float[batch, query, key] or float[batch, heads, query,
    key]; mask bool[batch, tokens], or the same mask once per map, as Keras passes it.
    Output: float[batch, query, key]. If the rows of every map sum to 1 over real tokens, so do those of the output;
    rows and columns of padding are exactly 0.

    Args:
        residual: mix each map half and half with the identity.
    """

    def __init__(self, residual: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.residual = residual

    def call(self, inputs: list[Tensor], mask: Tensor | list[Tensor | None] | None = None) -> Tensor:
        if isinstance(mask, list | tuple):
            mask = next((each for each in mask if each is not None), None)
        rollout = None
        for scores in inputs:
            step = self._step(scores, mask)  # [batch, query, key]
            rollout = step if rollout is None else ops.matmul(step, rollout)
        return rollout

    def _step(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        step = ops.mean(scores, axis=1) if len(scores.shape) == 4 else scores
        if self.residual:
            positions = ops.arange(ops.shape(step)[-1])
            step = (step + ops.cast(ops.expand_dims(positions, 1) == positions, step.dtype)) / 2
        if mask is None:
            return step
        real = ops.logical_and(ops.expand_dims(mask, 2), ops.expand_dims(mask, 1))
        return ops.where(real, step, ops.zeros_like(step))
