"""The architecture of a classifier."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

Encoder = Literal["none", "convolution", "bilstm", "bigru"]
Mechanism = Literal[
    "uniform",
    "elementwise",
    "multi_head",
    "local",
    "atrous",
    "sparse",
    "dot_product",
    "additive_pooling",
    "seq_additive",
    "seq_multiplicative",
    "seq_weighted",
    "scaled_dot_product",
    "residual_scaled_dot_product",
    "multi_head_of",
    "multi_head_projected",
    "keras_attention",
    "keras_additive_attention",
    "keras_multi_head_attention",
    "keras_group_query_attention",
    "transformer",
    "ngram_attention",
]
Position = Literal["none", "sinusoidal", "trainable"]
Merge = Literal["add", "concat"]
Pooling = Literal["mean", "sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """ids -> embedding -> position -> encoder -> attention -> pooling -> linear head.

    `ngram_attention` reads the ids themselves: ids -> attention -> linear head. With `ngrams` it stands beside another
    mechanism, under the same head.

    Attributes:
        vocabulary_size: ids of the embedding, including padding and unknown.
        labels: number of labels.
        embedding_dim: features of the embedding.
        embedding_dropout: dropout rate of whole embedding features.
        token_dropout: dropout rate of whole tokens.
        position: position embedding, counted over real tokens.
        position_merge: add position vectors to the token's, or concatenate them.
        max_positions: rows of a trainable position embedding.
        encoder: lets a token's state depend on its neighbours; "none" keeps the embedding.
        encoder_units: units per direction of a recurrent encoder, or filters of a convolution.
        kernel_size: tokens under the convolution; odd.
        recurrent_inputs_dropout: dropout rate of a recurrent encoder's inputs.
        mechanism: a key of `models.mechanisms.MECHANISMS`.
        attention: keyword arguments of the mechanism's layer.
        attention_units: width of the scoring network, for mechanisms that have one.
        pooling: reduces the outputs of a self-attention to one vector.
        dropout: dropout rate of the pooled vector.
        ngrams: keyword arguments of an `NgramAttention` beside the mechanism, which has to be exact; None: none.
        ngram_share: part of the n-grams in the token weights.

    Raises:
        ValueError: an invalid value.
    """

    vocabulary_size: int
    labels: int = 2
    embedding_dim: int = 128
    embedding_dropout: float = 0.0
    token_dropout: float = 0.0
    position: Position = "none"
    position_merge: Merge = "add"
    max_positions: int = 512
    encoder: Encoder = "bilstm"
    encoder_units: int = 96
    kernel_size: int = 5
    recurrent_inputs_dropout: float = 0.0
    mechanism: Mechanism = "additive_pooling"
    attention: dict[str, Any] = field(default_factory=dict, hash=False)
    attention_units: int = 64
    pooling: Pooling = "mean"
    dropout: float = 0.0
    ngrams: dict[str, Any] | None = field(default=None, hash=False)
    ngram_share: float = 0.5

    def __post_init__(self) -> None:
        for name, choices in (
            ("encoder", Encoder),
            ("mechanism", Mechanism),
            ("pooling", Pooling),
            ("position", Position),
            ("position_merge", Merge),
        ):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"Expected {name} to be one of {get_args(choices)}. Received {getattr(self, name)!r}.")
        for name, least in (
            ("vocabulary_size", 3),
            ("labels", 2),
            ("embedding_dim", 1),
            ("encoder_units", 1),
            ("kernel_size", 1),
            ("attention_units", 1),
            ("max_positions", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} of at least {least}. Received {getattr(self, name)}.")
        if not isinstance(self.attention, dict):
            raise ValueError(f"Expected attention to be a table of options. Received {self.attention!r}.")
        if self.mechanism == "ngram_attention" and (self.encoder, self.position) != ("none", "none"):
            raise ValueError(
                "Expected encoder 'none' and position 'none' with ngram_attention, which reads ids. "
                f"Received {self.encoder!r} and {self.position!r}."
            )
        if self.ngrams is not None and (not isinstance(self.ngrams, dict) or self.mechanism == "ngram_attention"):
            raise ValueError(
                "Expected ngrams to be a table of options, beside another mechanism than ngram_attention. "
                f"Received {self.ngrams!r} beside {self.mechanism!r}."
            )
        if not 0 <= self.ngram_share <= 1:
            raise ValueError(f"Expected ngram_share in [0, 1]. Received {self.ngram_share}.")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"Expected kernel_size to be odd. Received {self.kernel_size}.")
        for name in ("embedding_dropout", "token_dropout", "recurrent_inputs_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"Expected {name} in [0, 1). Received {getattr(self, name)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `bundle.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ClassifierConfig":
        """Rebuild from plain values.

        Raises:
            ValueError: an unknown or missing key, or an invalid value.
        """
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"Expected only {sorted(known)}. Received {unknown}.")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"Expected the values of a ClassifierConfig. Received {values}: {error}.") from error
