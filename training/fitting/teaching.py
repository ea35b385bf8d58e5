"""Texts that other classifiers have labelled, to learn from beside the labelled ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.bundle.store import BundleCard, load_bundle, read_card
from models.tokenizer import UNKNOWN_ID, Tokenizer
from training import ConfigError
from training.batches import EncodedTexts, encode_texts
from training.config import TrainConfig, read_config
from training.fitting.hybrid import STATES, parts_of
from training.fitting.making import make_texts
from training.measuring.answers import answers_of
from training.prepare import Prepared, swapped
from training.progress import Progress
from training.robustness.names import all_names
from training.robustness.sentences import sample_sentences
from training.robustness.turned import has_negator

TAUGHT_FILE = "taught.npz"
_TEXTS, _SENTENCES, _MADE, _SWAPS = range(1, 5)  # beside the seed, which alone is that of the training texts

_MOST_NAMES = 1000

Teacher = TrainConfig | Path
"""The configuration of a classifier that is trained first, or the folder of a bundle."""

TrainTeacher = Callable[[TrainConfig, Path], None]
"""Trains a classifier on the texts of the run, and saves its bundle in a folder."""


@dataclass(frozen=True, slots=True)
class Taught:
    """Training texts with those that teachers have labelled.

    Attributes:
        texts: all of them, the labelled ones first.
        facts: who the teachers are and how many texts they labelled, for the card; None without teachers.
        start: the model of the first teacher, to start at its weights; None: do not.
    """

    texts: EncodedTexts
    facts: dict[str, Any] | None = None
    start: keras.Model | None = None


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The texts to label. The label of `sentences[i]` leans on that of text `of_sentences[i]`, labelled texts first."""

    unlabelled: Sequence[str]
    sentences: Sequence[str]
    of_sentences: np.ndarray


def read_teachers(config: TrainConfig, label_names: Sequence[str], fingerprint: str) -> list[Teacher]:
    """Read and check the teachers of a run, before anything is trained.

    A teacher that is trained first gets the texts of the run, and its seed plus the place in the list, so that two of a
    kind differ. A bundle must have been trained on the same texts, so that it passes on nothing about those of
    validation.

    Args:
        config: of the run.
        label_names: names of labels 0, 1, ...
        fingerprint: of its corpus.

    Raises:
        ConfigError: a configuration cannot be read, a bundle has other labels or was trained on other texts, the first
            teacher has another architecture than the run starts with, or texts are made for other than two labels.
        BundleError: a bundle cannot be read.
    """
    if not config.teaching:
        return []
    if config.teaching.is_made and len(label_names) != 2:
        raise ConfigError(f"teaching.templates, turned and flipped: expected two labels. Received {list(label_names)}.")
    teachers: list[Teacher] = []
    for place, name in enumerate(config.teaching.teachers):
        if name.endswith(".toml"):
            changes = {"data": config.data, "seed": config.seed + place}
            teachers.append(read_config(Path(name)).model_copy(update=changes))
        else:
            _check(Path(name), read_card(Path(name)), config, label_names, fingerprint)
            teachers.append(Path(name))
    if config.teaching.start:
        _check_start(teachers[0], config)
    return teachers


def identity_of(teacher: Teacher) -> Any:
    """Return what tells a teacher from others, in plain values."""
    return read_card(teacher).version if isinstance(teacher, Path) else teacher.model_dump(mode="json")


def teach(
    config: TrainConfig,
    teachers: Sequence[Teacher],
    prepared: Prepared,
    label_names: Sequence[str],
    work: Path,
    train_teacher: TrainTeacher,
    progress: Progress,
) -> Taught:
    """Return the training texts and those that `config.teaching` adds.

    An unlabelled text gets the mean of its teachers' calibrated probabilities, a sentence in part those of the whole
    text, a template what it says.

    Args:
        config: of the run.
        teachers: from `read_teachers`.
        prepared: texts of the run.
        label_names: names of labels 0, 1, ...
        work: folder of the run; the labels are kept there, for a run that resumes.
        train_teacher: trains a teacher.
        progress: receives messages and steps.

    Raises:
        ConfigError: there is no validation part.
    """
    if not config.teaching:
        return Taught(prepared.train)
    if not len(prepared.validation.labels):
        raise ConfigError(
            "teaching: expected a validation part, which no teacher learns. These texts are so few that they are "
            "cross-validated. Hold some out with --set data.fewest_validation=0, or leave out [teaching]."
        )
    drawn = _draw(config, prepared)
    folders = [_folder_of(teacher, work / f"teacher_{i}", train_teacher) for i, teacher in enumerate(teachers, 1)]
    texts, sentences = _labels(folders, drawn, work / TAUGHT_FILE, progress)
    share = config.teaching.of_text
    of_texts = np.concatenate([prepared.train.targets(len(label_names)), texts])[drawn.of_sentences]
    sentences = (1 - share) * sentences + share * of_texts
    generator = np.random.default_rng([config.seed, _MADE])
    made = make_texts(config.teaching, prepared.splits.train, drawn.sentences, sentences[:, -1], generator)
    of_made = [np.stack([1 - positive, positive], axis=1) for _, positive in made.values()]
    soft = np.concatenate([texts, sentences, *of_made]).astype(np.float32)
    weights = np.full(len(soft), config.teaching.sentence_weight, np.float32)
    weights[: len(texts)] = 1
    further = encode_texts(
        prepared.tokenizer,
        [*drawn.unlabelled, *drawn.sentences, *(text for kind, _ in made.values() for text in kind)],
        soft.argmax(axis=1),
        config.data.max_tokens,
    )
    if config.data.swap_names:
        further = replace(further, ids=_with_unknown_names(prepared.tokenizer, further.ids, generator))
    cards = [read_card(folder) for folder in folders]
    facts = {
        "teachers": [{"name": card.name, "version": card.version} for card in cards],
        "unlabelled": len(texts),
        "sentences": len(sentences),
        **{kind: len(kind_texts) for kind, (kind_texts, _) in made.items()},
    }
    start = load_bundle(folders[0]).model if config.teaching.start else None
    return Taught(prepared.train.and_taught(further.ids, soft, weights, len(soft) - len(texts)), facts, start)


def _draw(config: TrainConfig, prepared: Prepared) -> _Drawn:
    assert config.teaching
    splits = prepared.splits
    generator = np.random.default_rng([config.seed, _TEXTS])
    chosen = np.sort(generator.permutation(len(splits.unlabelled))[: config.teaching.unlabelled])
    unlabelled = swapped(config, [splits.unlabelled[place] for place in chosen], _SWAPS)
    sentences, of_sentences = sample_sentences(
        [*splits.train.texts, *unlabelled],
        config.teaching.sentences,
        np.random.default_rng([config.seed, _SENTENCES]),
    )
    plain = [place for place, sentence in enumerate(sentences) if not has_negator(sentence)]
    return _Drawn(unlabelled, [sentences[place] for place in plain], of_sentences[plain])


def _with_unknown_names(
    tokenizer: Tokenizer, texts: Sequence[np.ndarray], generator: np.random.Generator
) -> list[np.ndarray]:
    """Make the first names of every other text unknown words, whose label must not depend on them either."""
    names = tokenizer.encode(" ".join(all_names()), _MOST_NAMES).ids
    hidden = generator.random(len(texts)) < 0.5
    return [
        np.where(np.isin(ids, names), UNKNOWN_ID, ids).astype(np.int32) if hide else ids
        for ids, hide in zip(texts, hidden, strict=True)
    ]


def _folder_of(teacher: Teacher, folder: Path, train_teacher: TrainTeacher) -> Path:
    """Return the folder of a teacher's bundle, which is trained into `folder` if it is not there."""
    if isinstance(teacher, Path):
        return teacher
    if not folder.exists():
        train_teacher(teacher, folder)
    return folder


def _labels(folders: Sequence[Path], drawn: _Drawn, file: Path, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the teachers' probabilities for texts and for sentences, float32[texts, labels] each.

    They are read from `file` if it exists, and saved there otherwise.
    """
    if not file.exists():
        progress.say(f"labelling {len(drawn.unlabelled):,} texts and {len(drawn.sentences):,} sentences")
        texts = [*drawn.unlabelled, *drawn.sentences]
        labels = np.mean([answers_of(load_bundle(folder))(texts) for folder in folders], axis=0).astype(np.float32)
        with file.with_suffix(".partial").open("wb") as stream:
            np.savez(stream, texts=labels[: len(drawn.unlabelled)], sentences=labels[len(drawn.unlabelled) :])
        file.with_suffix(".partial").rename(file)
    with np.load(file, allow_pickle=False) as stored:
        return stored["texts"], stored["sentences"]


def _check(path: Path, card: BundleCard, config: TrainConfig, label_names: Sequence[str], fingerprint: str) -> None:
    if card.labels != tuple(label_names):
        raise ConfigError(f"{path}: expected the labels {list(label_names)}. Received {list(card.labels)}.")
    expected = {"fingerprint": fingerprint, **config.data.model_dump(mode="json")}
    received = {"fingerprint": card.data.get("fingerprint"), **card.training.get("config", {}).get("data", {})}
    if differing := sorted(name for name in expected if received.get(name) != expected[name]):
        raise ConfigError(
            f"{path}: expected a bundle trained on the texts of this run, as it must not know those of validation. "
            f"It differs in {differing}."
        )


def _check_start(teacher: Teacher, config: TrainConfig) -> None:
    """Check that the run, or the path of a hybrid that reads words, has the architecture of its first teacher."""
    own = parts_of(config)[STATES] if "ngrams" in config.model else config
    model = read_card(teacher).training["config"]["model"] if isinstance(teacher, Path) else teacher.model
    if model != own.model:
        differing = sorted(key for key in {*model, *own.model} if model.get(key) != own.model.get(key))
        raise ConfigError(
            f"teaching.start: expected a first teacher of the same architecture. It differs in model.{differing}."
        )
