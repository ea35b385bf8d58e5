"""The linear head, and the contribution of each token to its logits."""

from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class LinearHead(BaseLayer):
    """Logits of a pooled vector, and each token's exact share in them.

        pooled = sum_j r_j v_j,  logits = pooled W + b
        contrast of a label c:  w_c = W_c - mean of the other columns of W,  b_c likewise
        contribution_j = r_j (v_j . w_c),  so that  b_c + sum_j contribution_j = logit_c - mean of the other logits

    With two labels the contrast is that of label 1 against label 0; with more, that of the label with the highest logit
    against the others. The contributions are exact because the logits are linear in the values.

    With several heads concatenated in the pooled vector, pooled = concat over heads h of sum_j r_hj v_hj, a token's
    contribution is its sum over the heads: contribution_j = sum_h r_hj (v_hj . w_c,h).

    Input: pooled float[batch, features], values float[batch, tokens, features], coefficients r float[batch, tokens] or
    float[batch, heads, tokens]. Values that all heads share may be given once: float[batch, tokens, features / heads].
    Output: {"logits": float32[batch, labels], "contributions": float32[batch, tokens]}, always float32.

    Args:
        labels: number of labels, at least 2.
        dropout: dropout rate of the pooled vector.
    """

    def __init__(self, labels: int, *, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if labels < 2:
            raise ValueError(f"Expected at least 2 labels. Received labels={labels}.")
        self.labels = labels
        self.dropout = dropout
        self.pooled_dropout = keras.layers.Dropout(dropout, dtype="float32")

    def build(
        self,
        pooled_shape: tuple[int | None, ...],
        values_shape: tuple[int | None, ...],
        coefficients_shape: tuple[int | None, ...],
    ) -> None:
        features = pooled_shape[-1]
        self.heads = coefficients_shape[1] if len(coefficients_shape) == 3 else 1
        self.kernel = self.add_weight(
            name="kernel", shape=(features, self.labels), initializer="glorot_uniform", dtype="float32", autocast=False
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.labels,), initializer="zeros", dtype="float32", autocast=False
        )

    def call(self, pooled: Tensor, values: Tensor, coefficients: Tensor, training: bool = False) -> dict[str, Tensor]:
        pooled = self.pooled_dropout(ops.cast(pooled, "float32"), training=training)
        logits = ops.matmul(pooled, self.kernel) + self.bias  # [batch, labels]
        target = ops.ones_like(logits[:, 0], dtype="int32") if self.labels == 2 else ops.argmax(logits, axis=-1)
        kernel = ops.take(self.contrasts(self.kernel), target, axis=1)  # [features, batch]
        values, coefficients = ops.cast(values, "float32"), ops.cast(coefficients, "float32")
        if len(coefficients.shape) == 2:
            shares = ops.einsum("btf,fb->bt", values, kernel)  # [batch, tokens]
            return {"logits": logits, "contributions": shares * coefficients}
        return {"logits": logits, "contributions": self._sum_of_heads(values, coefficients, kernel)}

    def base(self, target: int) -> float:
        """Contrast of label `target` before any token is read: b_c."""
        return float(ops.convert_to_numpy(self.contrasts(self.bias))[target])

    def contrasts(self, columns: Tensor) -> Tensor:
        """Subtract from each column the mean of the others: float[..., labels] -> float[..., labels]."""
        total = ops.sum(columns, axis=-1, keepdims=True)
        return columns - (total - columns) / (self.labels - 1)

    def _sum_of_heads(self, values: Tensor, coefficients: Tensor, kernel: Tensor) -> Tensor:
        size = kernel.shape[0] // self.heads
        kernel = ops.reshape(kernel, (self.heads, size, -1))  # [heads, size, batch]
        if values.shape[-1] == size:
            shares = ops.einsum("bts,hsb->bht", values, kernel)  # [batch, heads, tokens]
        else:
            tokens = ops.shape(values)[1]
            values = ops.reshape(values, (-1, tokens, self.heads, size))  # [batch, tokens, heads, size]
            shares = ops.einsum("bths,hsb->bht", values, kernel)  # [batch, heads, tokens]
        return ops.sum(shares * coefficients, axis=1)  # [batch, tokens]
