"""A training run in one TOML file, or one that changes another; an unknown key is an error."""

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.config import ClassifierConfig
from models.mechanisms import attention_layer
from training.errors import ConfigError

_DECIDED_BY_THE_DATA = {"vocabulary_size": 3, "labels": 2}  # with the least values there are


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataConfig(_Section):
    """How texts become ids."""

    validation_share: float = Field(0.1, gt=0, lt=1, description="part of train that is never trained on")
    max_words: int = Field(30_000, ge=1, description="words in the vocabulary, the commonest of train")
    max_tokens: int = Field(1024, ge=1, description="tokens read of a text; the rest is cut off")


class VectorsConfig(_Section):
    """Word vectors, trained on the train part and the unlabelled texts before the classifier is."""

    cbow: bool = Field(
        False,
        description="a word from the mean of its neighbours, at a fifth of the time of skip-gram",
        exclude_if=lambda cbow: not cbow,  # runs that were begun before there was a choice can still be resumed
    )
    window: int = Field(8, ge=1, description="words to either side")
    negative: int = Field(5, ge=1, description="negative samples a word")
    sample: float = Field(1e-4, gt=0, description="frequency above which common words are thinned out")
    min_count: int = Field(5, ge=1, description="rarer words get no vector")
    epochs: int = Field(4, ge=1)


class NgramsConfig(_Section):
    """How an attention over n-grams starts, and how its tables are trained."""

    min_count: int = Field(2, ge=1, description="n-grams that fewer training texts hold are left out")
    start_attention: float = Field(0.3, ge=0, description="attention logit at the start, of the size of the values")
    attention_rate: float = Field(0.1, ge=0, description="learning rate of the attention logits, of that of the values")
    pull: float = Field(1e-6, ge=0, description="gradient that draws a value back, of its distance from its start")


class PhaseConfig(_Section):
    """One stretch of training at one setting."""

    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="at the start; it falls along a cosine to a tenth")
    train_embedding: bool = Field(True, description="whether the word vectors are trained too")
    patience: int = Field(
        2, ge=1, description="epochs without a better calibrated validation loss after which the phase ends"
    )


class TrainConfig(_Section):
    """The whole of a training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="of the bundle")
    seed: int = Field(1, ge=0)
    batch_size: int = Field(64, ge=1)
    gradient_norm: float = Field(1.0, gt=0, description="gradients with a larger global norm are scaled down to it")
    data: DataConfig = DataConfig()
    vectors: VectorsConfig | Literal[False] = False
    ngrams: NgramsConfig | Literal[False] = Field(
        False, description="for the mechanism ngram_attention alone", exclude_if=lambda ngrams: not ngrams
    )
    model: dict[str, Any] = Field(
        default_factory=dict, description="the architecture: what `ClassifierConfig` takes and the data does not decide"
    )
    phases: tuple[PhaseConfig, ...] = Field(min_length=1, strict=False)

    @field_validator("model")
    @classmethod
    def _is_an_architecture(cls, model: dict[str, Any]) -> dict[str, Any]:
        if decided := sorted(_DECIDED_BY_THE_DATA.keys() & model.keys()):
            raise ValueError(f"Expected nothing that the data decides. Received {decided}.")
        attention_layer(ClassifierConfig.from_dict({**model, **_DECIDED_BY_THE_DATA}))  # refuses unknown options
        return model

    @model_validator(mode="after")
    def _has_ngrams_for_their_mechanism(self) -> Self:
        if bool(self.ngrams) != (self.model.get("mechanism") == "ngram_attention"):
            raise ValueError("Expected a table [ngrams] with the mechanism ngram_attention, and with no other.")
        return self

    @model_validator(mode="after")
    def _knows_every_position(self) -> Self:
        architecture = self.classifier(**_DECIDED_BY_THE_DATA)
        known = architecture.attention.get("max_length")
        if architecture.position == "trainable":
            known = min(architecture.max_positions, known or architecture.max_positions)
        if known is not None and known < self.data.max_tokens:
            raise ValueError(
                f"Expected as many positions as data.max_tokens={self.data.max_tokens}. Received {known}: what stands "
                "further back would be taken for the last one."
            )
        return self

    def classifier(self, *, vocabulary_size: int, labels: int) -> ClassifierConfig:
        """The whole architecture, once the data is known."""
        return ClassifierConfig.from_dict({**self.model, "vocabulary_size": vocabulary_size, "labels": labels})


def read_config(file: Path) -> TrainConfig:
    """The training configuration in a TOML file.

    A file may name another beside it as its `base`: what it does not say is then as it is there.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or holds an unknown key or a value out of range.
    """
    try:
        return TrainConfig.model_validate(_read_values(file))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']} (received {fault['input']!r:.60})"
            for fault in error.errors()
        )
        raise ConfigError(f"{file}: {faults}.") from error


def _read_values(file: Path, *, may_have_base: bool = True) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: expected a readable TOML file. {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected TOML. {error}.") from error
    if "base" not in values:
        return values
    base = values.pop("base")
    if not may_have_base or not isinstance(base, str) or Path(base).name != base:
        raise ConfigError(
            f"{file}: expected base to be the name of a file beside it that has no base itself. Received {base!r}."
        )
    return _merged(_read_values(file.parent / base, may_have_base=False), values)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `changes` in place of its own, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        both_tables = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both_tables else value
    return merged
