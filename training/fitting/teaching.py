"""Texts that other classifiers have labelled, to learn from beside the labelled ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from models.bundle.store import Bundle, load_bundle
from models.calibration import probabilities
from training import ConfigError
from training.batches import EncodedTexts, encode_texts, for_prediction, predict_logits
from training.config import TrainConfig, read_config
from training.prepare import Prepared, swapped
from training.progress import Progress
from training.robustness.lexicon import learn_lexicon
from training.robustness.sentences import sample_sentences
from training.robustness.templates import make_examples
from training.speedups import with_fused_lstm

TAUGHT_FILE = "taught.npz"
_TEXTS, _SENTENCES, _TEMPLATES = range(3)  # what a seed is for


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The texts to label. The label of `sentences[i]` leans on that of text `of_sentences[i]`, labelled texts first."""

    unlabelled: list[str]
    sentences: list[str]
    of_sentences: np.ndarray


def with_taught_texts(
    config: TrainConfig,
    prepared: Prepared,
    label_names: Sequence[str],
    work: Path,
    train_teacher: Callable[[TrainConfig, Path], None],
    progress: Progress,
) -> EncodedTexts:
    """Return the training texts and those that `config.teaching` adds.

    An unlabelled text gets the mean of its teachers' calibrated probabilities, a sentence in part those of the whole
    text, a template what it says. The teachers see the same training texts and no others.

    Args:
        config: of the run.
        prepared: its texts.
        label_names: names of labels 0, 1, ...
        work: folder of the run; the labels are kept there, for a run that resumes.
        train_teacher: trains a classifier on the same texts, and saves its bundle in a folder.
        progress: receives messages and steps.

    Raises:
        ConfigError: a teacher is neither a TOML file nor a bundle of the same labels and texts, or there are templates
            for other than two labels.
    """
    if not config.teaching:
        return prepared.train
    drawn, file = _draw(config, prepared), work / TAUGHT_FILE
    if not file.exists():
        folders = [_folder_of(name, config, work, train_teacher) for name in config.teaching.teachers]
        bundles = [_checked(load_bundle(folder), config, label_names) for folder in folders]
        progress.say(f"labelling {len(drawn.unlabelled):,} texts and {len(drawn.sentences):,} sentences")
        with file.with_suffix(".partial").open("wb") as stream:
            np.savez(stream, texts=_ask(bundles, drawn.unlabelled), sentences=_ask(bundles, drawn.sentences))
        file.with_suffix(".partial").rename(file)
    with np.load(file, allow_pickle=False) as stored:
        texts, sentences = stored["texts"], stored["sentences"]
    share = config.teaching.of_text
    of_texts = np.concatenate([prepared.train.targets(len(label_names)), texts])[drawn.of_sentences]
    templates, of_templates = _templates(config, prepared, label_names)
    soft = np.concatenate([texts, (1 - share) * sentences + share * of_texts, of_templates]).astype(np.float32)
    weights = np.full(len(soft), config.teaching.sentence_weight, np.float32)
    weights[: len(texts)] = 1
    further = encode_texts(
        prepared.tokenizer,
        [*swapped(config, drawn.unlabelled, _TEXTS), *drawn.sentences, *templates],
        soft.argmax(axis=1),
        config.data.max_tokens,
    )
    return prepared.train.and_taught(further.ids, soft, weights)


def _draw(config: TrainConfig, prepared: Prepared) -> _Drawn:
    assert config.teaching
    splits = prepared.splits
    generator = np.random.default_rng([config.seed, _TEXTS])
    chosen = np.sort(generator.permutation(len(splits.unlabelled))[: config.teaching.unlabelled])
    unlabelled = [splits.unlabelled[place] for place in chosen]
    sentences, of_sentences = sample_sentences(
        [*splits.train.texts, *unlabelled],
        config.teaching.sentences,
        np.random.default_rng([config.seed, _SENTENCES]),
    )
    return _Drawn(unlabelled, sentences, of_sentences)


def _folder_of(
    teacher: str, config: TrainConfig, work: Path, train_teacher: Callable[[TrainConfig, Path], None]
) -> Path:
    """Return the folder of a teacher's bundle, which is trained first if it is a TOML file."""
    if not teacher.endswith(".toml"):
        return Path(teacher)
    own = read_config(Path(teacher))
    folder = work / own.name
    if not folder.exists():
        train_teacher(own.model_copy(update={"data": config.data, "seed": config.seed}), folder)
    return folder


def _checked(teacher: Bundle, config: TrainConfig, label_names: Sequence[str]) -> Bundle:
    """Return a teacher whose validation texts are those of this run, so that it passes nothing on about them."""
    if teacher.card.labels != tuple(label_names):
        raise ConfigError(f"{teacher.path}: expected the labels {list(label_names)}. Received {teacher.card.labels}.")
    seen, wanted = teacher.card.training.get("config", {}).get("data"), config.data.model_dump(mode="json")
    if seen != wanted:
        raise ConfigError(f"{teacher.path}: expected a bundle trained on the same texts, by {wanted}. Received {seen}.")
    return teacher


def _ask(teachers: Sequence[Bundle], texts: Sequence[str]) -> np.ndarray:
    """Return the mean of the teachers' calibrated probabilities: float32[texts, labels]."""
    total = np.zeros((len(texts), len(teachers[0].card.labels)))
    for teacher in teachers if len(texts) else ():
        forward = for_prediction(with_fused_lstm(keras.Model(teacher.model.input, teacher.model.output["logits"])))
        encoded = encode_texts(teacher.tokenizer, texts, np.zeros(len(texts), np.int32), teacher.card.max_tokens)
        total += probabilities(predict_logits(forward, encoded.ids), teacher.card.temperature)
    return (total / len(teachers)).astype(np.float32)


def _templates(config: TrainConfig, prepared: Prepared, label_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return template sentences about words that lean to one side in the training texts, and their probabilities."""
    assert config.teaching
    if not config.teaching.templates:
        return [], np.zeros((0, len(label_names)), np.float32)
    if len(label_names) != 2:
        raise ConfigError(f"teaching.templates: expected two labels. Received {list(label_names)}.")
    train = prepared.splits.train
    lexicon = learn_lexicon(train.texts, train.labels)
    examples = make_examples(
        list(lexicon.positive),
        list(lexicon.negative),
        config.teaching.templates,
        np.random.default_rng([config.seed, _TEMPLATES]),
    )
    positive = np.array([example.target for example in examples], np.float32)
    return [example.text for example in examples], np.stack([1 - positive, positive], axis=1)
