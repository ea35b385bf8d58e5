"""The whole architecture of a classifier in one frozen object."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Encoder = Literal["none", "convolution", "bilstm", "bigru"]
Mechanism = Literal["additive_pooling", "dot_product", "seq_additive", "seq_multiplicative"]
Pooling = Literal["mean", "sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """ids -> embedding -> encoder -> attention -> pooling -> linear head.

    Attributes:
        vocabulary_size: ids the embedding knows, padding and unknown included.
        labels: number of labels.
        embedding_dim: width of a token's vector.
        embedding_dropout: share of whole embedding features dropped in training.
        token_dropout: share of whole tokens dropped in training.
        encoder: what lets a token's state see its neighbours; "none" leaves the embedding as it is.
        encoder_units: units of each direction of a recurrent encoder, or filters of a convolution.
        kernel_size: tokens under the convolution; odd.
        recurrent_inputs_dropout: share of a recurrent encoder's inputs dropped in training.
        mechanism: where the classifier looks; `models.classifier.MECHANISMS` describes each.
        attention_units: width of the scoring network of additive mechanisms.
        pooling: how a self-attention's outputs become one vector.
        dropout: share of the pooled vector dropped in training.

    Raises:
        ValueError: a value outside what is listed here.
    """

    vocabulary_size: int
    labels: int = 2
    embedding_dim: int = 128
    embedding_dropout: float = 0.0
    token_dropout: float = 0.0
    encoder: Encoder = "bilstm"
    encoder_units: int = 96
    kernel_size: int = 5
    recurrent_inputs_dropout: float = 0.0
    mechanism: Mechanism = "additive_pooling"
    attention_units: int = 64
    pooling: Pooling = "mean"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("encoder", Encoder), ("mechanism", Mechanism), ("pooling", Pooling)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"Expected {name} to be one of {get_args(choices)}. Received {getattr(self, name)!r}.")
        for name, least in (
            ("vocabulary_size", 3),
            ("labels", 2),
            ("embedding_dim", 1),
            ("encoder_units", 1),
            ("kernel_size", 1),
            ("attention_units", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} of at least {least}. Received {getattr(self, name)}.")
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"Expected kernel_size to be odd, so that it has a token in its middle. Received {self.kernel_size}."
            )
        for name in ("embedding_dropout", "token_dropout", "recurrent_inputs_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"Expected {name} in [0, 1). Received {getattr(self, name)}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `bundle.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ClassifierConfig":
        """Rebuild from plain values.

        Raises:
            ValueError: a key that is no attribute, one that is missing, or a value of another type or range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"Expected only {sorted(known)}. Received {unknown}.")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"Expected the values of a ClassifierConfig. Received {values}: {error}.") from error
