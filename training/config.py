"""Configuration of a training run: a TOML file, those it builds on, and overrides."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from models.attending import ngrams_layer
from models.config import ClassifierConfig
from models.mechanisms import MECHANISMS, attention_layer
from training import ConfigError

CONFIGS = Path(__file__).parent / "configs"

_SET_BY_THE_DATA = {"vocabulary_size": 3, "labels": 2}  # smallest values, to check the rest with


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataConfig(_Section):
    """Splitting and tokenizing."""

    validation_share: float = Field(0.1, gt=0, lt=1, description="share of train held out for validation")
    split_seed: int = Field(1, ge=0, description="decides which texts are held out, the same ones for every `seed`")
    fewest_validation: int = Field(
        200, ge=0, description="cross-validate instead where validation would hold fewer texts; 0: never"
    )
    folds: int = Field(5, ge=2, description="parts of train that are held out in turn by cross-validation")
    max_words: int = Field(30_000, ge=1, description="size of the vocabulary: the most common words of train")
    max_tokens: int = Field(1024, ge=1, description="longer texts are truncated")
    swap_names: bool = Field(
        False, description="draw other first names, and exchange the sexes in half of the training texts; English"
    )
    exclude: str | Literal[False] = Field(
        False, description="a file of names of training texts, one on each line, that are left out of everything"
    )

    @field_serializer("exclude")
    def _without_its_folder(self, exclude: str | Literal[False]) -> str | Literal[False]:
        return exclude and Path(exclude).name

    @property
    def exclude_file(self) -> Path | None:
        """Return where the file of `exclude` is."""
        return _find(Path(), self.exclude) if self.exclude else None


class VectorsConfig(_Section):
    """Word vectors, trained before the classifier on the train and unlabelled texts, or read from a file."""

    file: str | None = Field(None, description="pretrained vectors in text, to read instead; the other keys are unused")
    cbow: bool = Field(False, description="continuous bag of words: a fifth of the time of skip-gram")
    window: int = Field(8, ge=1, description="context words on either side")
    negative: int = Field(5, ge=1, description="negative samples per word")
    sample: float = Field(1e-4, gt=0, description="words above this frequency are downsampled")
    min_count: int = Field(5, ge=1, description="rarer words get a random vector")
    epochs: int = Field(4, ge=1)


class NgramsConfig(_Section):
    """How an attention over n-grams starts, and how its tables are trained."""

    min_count: int = Field(2, ge=1, description="n-grams that fewer training texts hold are left out")
    start_attention: float = Field(0.3, ge=0, description="attention logit at the start, of the size of the values")
    attention_rate: float = Field(0.1, ge=0, description="learning rate of the attention logits, of that of the values")
    pull: float = Field(1e-6, ge=0, description="gradient that draws a value back, of its distance from its start")
    epochs: int = Field(3, ge=1, description="of n-grams beside another mechanism; [[phases]] are those of the latter")
    learning_rate: float = Field(0.5, gt=0, description="of n-grams beside another mechanism")


class TeachingConfig(_Section):
    """Further texts to learn from, with the probabilities that other classifiers give them."""

    teachers: tuple[str, ...] = Field(
        min_length=1,
        strict=False,
        description="TOML files of classifiers that are trained first, on the same texts, or folders of such bundles",
    )
    unlabelled: int = Field(1_000_000, ge=0, description="unlabelled texts, at most")
    sentences: int = Field(0, ge=0, description="sentences out of labelled and unlabelled texts, at most")
    of_text: float = Field(
        0.5,
        ge=0,
        le=1,
        description="part of the text's label in that of its sentence; the rest is the teachers'",
    )
    templates: int = Field(0, ge=0, description="sentences with negated and other judgements; two labels, English")
    turned: int = Field(
        0, ge=0, description="sentences of `sentences` turned round by a negator or antonyms; two labels, English"
    )
    flipped: int = Field(
        0, ge=0, description="labelled texts turned round by antonyms of their polar words; two labels, English"
    )
    sentence_weight: float = Field(
        0.5, gt=0, description="weight in the loss, of that of a text, of sentences and of all that is made"
    )
    start: bool = Field(
        False, description="start at the weights of the first teacher, whose architecture must be the same"
    )

    @property
    def is_made(self) -> bool:
        """Return whether texts are made whose labels follow from their words: two labels, English."""
        return bool(self.templates or self.turned or self.flipped)

    @field_serializer("teachers")
    def _without_their_folders(self, teachers: tuple[str, ...]) -> list[str]:
        return [Path(teacher).name for teacher in teachers]


class PhaseConfig(_Section):
    """A phase of training."""

    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="initial; decays along a cosine to a tenth")
    train_embedding: bool = Field(True, description="whether to train the word vectors too")
    patience: int = Field(2, ge=1, description="epochs without a better validation measure before it ends")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="momentum of a running mean of the weights to keep, such as 0.999; 0: none",
    )


class TrainConfig(_Section):
    """Configuration of a training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="name of the bundle")
    seed: int = Field(1, ge=0)
    batch_size: int = Field(64, ge=1)
    class_weight: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None, description="weight of each label in the training loss; balanced: of its rows; not named: 1"
    )
    stop_on: Literal["loss", "macro_f1"] = Field(
        "loss", description="measure on validation that decides when to stop: calibrated loss, or F1 meaned over labels"
    )
    gradient_norm: float = Field(1.0, gt=0, description="clip gradients to this global norm")
    data: DataConfig = DataConfig()
    vectors: VectorsConfig | Literal[False] = False
    ngrams: NgramsConfig | Literal[False] = Field(
        False,
        description="for the mechanism ngram_attention and for [model.ngrams]",
        exclude_if=lambda ngrams: not ngrams,
    )
    teaching: TeachingConfig | Literal[False] = Field(
        False, description="learn further texts from teachers", exclude_if=lambda teaching: not teaching
    )
    model: dict[str, Any] = Field(
        default_factory=dict, description="arguments of `ClassifierConfig`, except those the data determines"
    )
    phases: tuple[PhaseConfig, ...] = Field(min_length=1, strict=False)

    @field_validator("model")
    @classmethod
    def _is_an_architecture(cls, model: dict[str, Any]) -> dict[str, Any]:
        if derived := sorted(_SET_BY_THE_DATA.keys() & model.keys()):
            raise ValueError(f"Expected no key that the data determines. Received {derived}.")
        architecture = ClassifierConfig.from_dict({**model, **_SET_BY_THE_DATA})
        attention_layer(architecture)  # rejects unknown options
        if architecture.ngrams is not None:
            ngrams_layer(architecture)
            if MECHANISMS[architecture.mechanism].attention_is != "exact":
                raise ValueError(f"Expected ngrams beside an exact mechanism. Received {architecture.mechanism}.")
        return model

    @model_validator(mode="after")
    def _has_ngrams_for_their_mechanism(self) -> Self:
        if bool(self.ngrams) != (self.model.get("mechanism") == "ngram_attention" or "ngrams" in self.model):
            raise ValueError("Expected a table [ngrams] with the mechanism ngram_attention or [model.ngrams] alone.")
        if self.model.get("mechanism") == "ngram_attention" and any(phase.average for phase in self.phases):
            raise ValueError("Expected no average in phases of ngram_attention, whose tables are sparse.")
        return self

    @model_validator(mode="after")
    def _knows_every_position(self) -> Self:
        architecture = self.classifier(**_SET_BY_THE_DATA)
        known = architecture.attention.get("max_length")
        if architecture.position == "trainable":
            known = min(architecture.max_positions, known or architecture.max_positions)
        if known is not None and known < self.data.max_tokens:
            raise ValueError(
                f"Expected as many positions as data.max_tokens={self.data.max_tokens}. Received {known}: all later "
                "tokens would share the last one."
            )
        return self

    def classifier(self, *, vocabulary_size: int, labels: int) -> ClassifierConfig:
        """Return the architecture, given what the data determines."""
        return ClassifierConfig.from_dict({**self.model, "vocabulary_size": vocabulary_size, "labels": labels})


def read_config(file: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read the training configuration in a TOML file.

    `base` may name another file, whose values are the defaults: beside this one, by a path from here, or one of
    training/configs. The files of `data.exclude` and of teachers are looked for in the same places.

    Args:
        file: the TOML file.
        overrides: further values, such as `model.encoder_units=64`; the last one of a key wins.

    Raises:
        ConfigError: a file cannot be read, is not TOML, or has an unknown key or an invalid value.
    """
    return as_config(_read_values(file, ()), overrides, source=str(file))


def as_config(values: dict[str, Any], overrides: Sequence[str] = (), *, source: str) -> TrainConfig:
    """Return the configuration of `values`, changed by `overrides`.

    Raises:
        ConfigError: an unknown key or an invalid value, in `source` or an override.
    """
    for override in overrides:
        values = _merged(values, _as_values(override))
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']} (received {fault['input']!r:.60})"
            for fault in error.errors()
        )
        source = " with --set ".join([source, *overrides])
        raise ConfigError(f"{source}: {faults}.") from error


def _as_values(override: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(override)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"--set {override}: expected KEY=VALUE with a value in TOML, such as --set model.encoder_units=64 or "
            f"--set 'model.encoder=\"bigru\"'. {error}."
        ) from error
    return values


def _read_values(file: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Return the values of a file and its base; `above` are the files whose base it is."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{file}: expected a readable TOML file. {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected TOML. {error}.") from error
    data, teaching = values.get("data"), values.get("teaching")
    if isinstance(data, dict) and isinstance(data.get("exclude"), str):
        data["exclude"] = str(_find(file.parent, data["exclude"]))
    if isinstance(teaching, dict) and isinstance(teaching.get("teachers"), list):
        teaching["teachers"] = [
            str(_find(file.parent, each)) if str(each).endswith(".toml") else each for each in teaching["teachers"]
        ]
    if "base" not in values:
        return values
    base = values.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{file}: expected base to name a file. Received {base!r}.")
    above = (*above, file.resolve())
    found = _find(file.parent, base)
    if found.resolve() in above:
        raise ConfigError(f"{file}: expected a base that does not build on this file. Received {base!r}.")
    return _merged(_read_values(found, above), values)


def _find(folder: Path, name: str) -> Path:
    """Return the path of a file by its path from `folder`, or else by its name in training/configs."""
    found = folder / name
    return CONFIGS / name if not found.exists() and (CONFIGS / name).exists() else found


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` updated with `changes`, table by table. In `phases.1.epochs`, 1 is the second phase."""
    merged = dict(base)
    for key, value in changes.items():
        old = base.get(key)
        if isinstance(value, dict) and isinstance(old, list) and set(value) <= set(map(str, range(len(old)))):
            merged[key] = [_merged(each, value.get(str(place), {})) for place, each in enumerate(old)]
        elif isinstance(value, dict) and isinstance(old, dict):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged
