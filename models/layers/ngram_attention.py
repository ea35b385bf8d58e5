"""Attention over hashed n-grams: one look-up per n-gram, one softmax per text."""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor, masked_softmax

UNSEEN = -1e4
"""The attention logit of an n-gram that training leaves out: weight 0 beside any other, and never trained."""

# The hash. The largest of its sums is 4 * 4095 * 131071 < 2^31, so it is the same in signed 32-bit integers everywhere.
PRIME = 16_777_213  # below 2^24
PIECE = 4_096
FACTORS = (130_363, 95_789, 120_371, 84_631)  # primes below 2^17

MOST_LOGIT_CODE, MOST_VALUE_CODE = 255, 127
"""Of tables in 8 bits. The code 0 of an attention logit stands for `UNSEEN`."""


@keras.saving.register_keras_serializable("heed")
class NgramAttention(keras.layers.Layer):
    """Weighted mean of the values of a text's distinct n-grams.

        G = the distinct n-grams of 1 to `longest` tokens that stand in the text, by their buckets
        a = softmax over g in G of u_g,  pooled = scale * sum_g a_g v_g

    Every bucket has an attention logit u and values v. Under a linear head this is a bag of n-grams that competes for
    attention; started at Naive Bayes log ratios (Wang and Manning 2012, "Baselines and Bigrams") it learns from few
    texts.

    An n-gram's weight is divided evenly among its tokens, over all the places where it stands. With c places and n
    tokens in each, a token receives a_g / (n c) from every place that covers it, so that token weights sum to 1 and
    token values to `pooled`:

        weight_t = sum of a_g / (n c) over the places that cover t,  value_t = scale * sum of v_g a_g / (n c)

    The bucket of the n-gram x_1 ... x_n is h_n mod `buckets`, all in integers that stay below 2^31:

        h_0 = 0
        h_i = (130363 (h mod 4096) + 95789 (h div 4096) + 120371 (x mod 4096) + 84631 (x div 4096)) mod 16777213
              with h = h_(i-1) and x = x_i, which is below 2^24

    Input: ids int32[batch, tokens]; mask bool[batch, tokens]. An n-gram that would cover padding does not exist.
    Output: float32[batch, features]. With `return_attention_scores=True` also the token weights float32[batch, tokens]:
    at least 0, exactly 0 on padding, summing to 1 over the real tokens; with `return_values=True` also the token values
    float32[batch, tokens, features], which sum to the first output. A row with no real token gives zeros. Always in
    float32.

    With `bits=8` the tables are codes, uint8 for u and int8 for v, which are never trained: u = low + step * code, or
    `UNSEEN` for the code 0, and v = step * code. Training makes them from trained tables.

    Args:
        features: numbers in v.
        longest: tokens in the longest n-gram.
        buckets: rows of the tables, at most 2^23. Two n-grams in one bucket are one.
        scale: factor of the mean.
        dropout: share of a text's distinct n-grams dropped in training.
        bits: 8 for tables of codes, 32 for float32.
    """

    def __init__(
        self,
        features: int = 1,
        *,
        longest: int = 3,
        buckets: int = 1 << 20,
        scale: float = 10.0,
        dropout: float = 0.0,
        bits: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, most in (
            ("features", features, 1 << 16),
            ("longest", longest, 8),
            ("buckets", buckets, 1 << 23),
        ):
            if not 1 <= value <= most:
                raise ValueError(f"Expected {name} from 1 to {most}. Received {name}={value}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"Expected dropout in [0, 1). Received dropout={dropout}.")
        if bits not in (8, 32):
            raise ValueError(f"Expected bits to be 8 or 32. Received bits={bits}.")
        self.features = features
        self.longest = longest
        self.buckets = buckets
        self.scale = scale
        self.dropout = dropout
        self.bits = bits
        self.seed_generator = keras.random.SeedGenerator()
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        logits, values = ("uint8", "int8") if self.bits == 8 else ("float32", "float32")
        self.attention_logits = self._table("attention_logits", (self.buckets,), logits)  # u
        self.ngram_values = self._table("values", (self.buckets, self.features), values)  # v
        if self.bits == 8:
            self.logit_range = self._table("logit_range", (2,), "float32")  # low, step
            self.value_step = self._table("value_step", (1,), "float32")

    def _table(self, name: str, shape: tuple[int, ...], dtype: str) -> keras.Variable:
        trainable = self.bits == 32
        return self.add_weight(
            name=name, shape=shape, initializer="zeros", dtype=dtype, trainable=trainable, autocast=False
        )

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
        training: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        if mask is None:
            mask = ops.ones_like(inputs, dtype="bool")
        grams = self.hashed(inputs, mask)  # [batch, grams], a place each
        order = ops.argsort(grams, axis=1)
        ranked = ops.take_along_axis(grams, order, axis=1)
        starts = ops.concatenate([ops.ones_like(ranked[:, :1], "bool"), ranked[:, 1:] != ranked[:, :-1]], axis=1)
        distinct = ops.logical_and(starts, ranked < self.buckets)
        scores = self._logits_of(ranked)  # [batch, grams]
        if training:
            drawn = keras.random.uniform(ops.shape(ranked), seed=self.seed_generator) >= self.dropout
            distinct = ops.logical_and(distinct, ops.logical_and(drawn, scores > UNSEEN))
        weights = masked_softmax(scores, distinct)
        values = self._values_of(ranked)  # [batch, grams, features]
        pooled = self.scale * ops.einsum("bg,bgf->bf", weights, values)  # [batch, features]
        if not (return_attention_scores or return_values):
            return pooled
        shares = ops.take_along_axis(_divided(weights, starts), ops.argsort(order, axis=1), axis=1)  # [batch, grams]
        values = self.scale * self._values_of(grams)
        shares = ops.expand_dims(shares, -1) * ops.concatenate([ops.ones_like(values[..., :1]), values], axis=-1)
        tokens = self._of_tokens(shares, ops.shape(inputs)[1])  # [batch, tokens, 1 + features]
        outputs = [pooled]
        if return_attention_scores:
            outputs.append(tokens[..., 0])
        if return_values:
            outputs.append(tokens[..., 1:])
        return tuple(outputs)

    def hashed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The bucket of the n-gram that begins at each token, for every order in turn.

        Returns:
            int32[batch, longest * tokens]: `buckets` where there is no such n-gram.
        """
        ids = ops.cast(ids, "int32")
        state, real = ops.zeros_like(ids), ops.ones_like(mask)
        grams = []
        for ahead in range(self.longest):
            token = ops.pad(ids, ((0, 0), (0, ahead)))[:, ahead:]
            real = ops.logical_and(real, ops.pad(mask, ((0, 0), (0, ahead)))[:, ahead:])
            pieces = (state % PIECE, state // PIECE, token % PIECE, token // PIECE)
            state = sum(factor * piece for factor, piece in zip(FACTORS, pieces, strict=True)) % PRIME
            grams.append(ops.where(real, state % self.buckets, self.buckets))
        return ops.cast(ops.concatenate(grams, axis=1), "int32")

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        return None  # the tokens axis is gone

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "features": self.features,
            "longest": self.longest,
            "buckets": self.buckets,
            "scale": self.scale,
            "dropout": self.dropout,
            "bits": self.bits,
        }

    def _logits_of(self, grams: Tensor) -> Tensor:
        """The attention logits of buckets int32[batch, grams]: float32[batch, grams]."""
        found = ops.take(self.attention_logits, self._rows(grams), axis=0)
        if self.bits == 32:
            return found
        low, step = self.logit_range[0], self.logit_range[1]
        codes = ops.cast(found, "float32")
        return ops.where(codes == 0, UNSEEN, low + step * codes)

    def _values_of(self, grams: Tensor) -> Tensor:
        """The values of buckets int32[batch, grams]: float32[batch, grams, features]."""
        found = ops.take(self.ngram_values, self._rows(grams), axis=0)
        return found if self.bits == 32 else self.value_step * ops.cast(found, "float32")

    def _rows(self, grams: Tensor) -> Tensor:
        return ops.minimum(grams, self.buckets - 1)  # any will do where there is no n-gram: its weight is 0

    def _of_tokens(self, shares: Tensor, tokens: Any) -> Tensor:
        """Sum over the places that cover each token: float[batch, longest * tokens, f] -> float[batch, tokens, f]."""
        total = 0.0
        for order in range(self.longest):
            piece = shares[:, order * tokens : (order + 1) * tokens] / (order + 1)
            for back in range(order + 1):
                total = total + ops.pad(piece, ((0, 0), (back, 0), (0, 0)))[:, :tokens]
        return total


def _divided(weights: Tensor, starts: Tensor) -> Tensor:
    """Each run's weight, which stands at its start, divided evenly among its places: float[batch, grams]."""
    size = ops.shape(weights)[1]
    places = ops.broadcast_to(ops.expand_dims(ops.arange(size, dtype="int32"), 0), ops.shape(weights))
    begins = ops.sort(ops.where(starts, places, size), axis=1)  # where the runs begin, then `size`
    begins = ops.pad(begins, ((0, 0), (0, 1)), constant_values=size)
    run = ops.cumsum(ops.cast(starts, "int32"), axis=1) - 1
    begin = ops.take_along_axis(begins, run, axis=1)
    count = ops.take_along_axis(begins, run + 1, axis=1) - begin
    return ops.take_along_axis(weights, begin, axis=1) / ops.cast(count, weights.dtype)
