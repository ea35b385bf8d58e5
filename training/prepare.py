"""Turn a corpus into what a classifier trains on: splits, vocabulary, token ids, word vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.tokenizer import Tokenizer
from training.batches import EncodedTexts, encode_texts
from training.config import TrainConfig
from training.data.corpus import Corpus, LabelledTexts
from training.data.splits import Splits, split_corpus
from training.folds import assign_folds
from training.measuring.baselines import measure_baselines
from training.progress import Progress
from training.robustness.names import swap
from training.vectors import coverage_of, read_vectors, train_vectors


@dataclass(frozen=True, slots=True)
class Prepared:
    """A corpus that is split and tokenized, with its word vectors if any, and the baselines for it.

    Attributes:
        validation: empty where the run is cross-validated.
        test: None where the corpus has no test part of its own.
        start: a trained model of the same architecture whose weights the classifier starts at; None: vectors alone.
    """

    splits: Splits
    tokenizer: Tokenizer
    vectors: np.ndarray | None  # float32[vocabulary, embedding_dim]
    train: EncodedTexts
    validation: EncodedTexts
    test: EncodedTexts | None
    baselines: dict[str, Any]  # their figures on the texts that are measured
    coverage: dict[str, Any] | None = None  # of pretrained vectors
    start: keras.Model | None = None

    @property
    def measured(self) -> tuple[str, LabelledTexts, EncodedTexts]:
        """Return the part that a run is measured on, and its texts.

        It is test, or validation where there is no test part, or train where its folds take the place of validation.
        """
        if self.splits.test is not None and self.test is not None:
            return "test", self.splits.test, self.test
        if len(self.splits.validation):
            return "validation", self.splits.validation, self.validation
        return "train", self.splits.train, self.train


def prepare(config: TrainConfig, corpus: Corpus, *, vectors_file: Path, progress: Progress) -> Prepared:
    """Split and tokenize the corpus, measure the baselines, and train or read word vectors if `config` asks for them.

    Validation is empty if it would hold fewer texts than `config.data.fewest_validation`.

    Args:
        vectors_file: trained word vectors are read from here if it exists, and saved here otherwise.

    Raises:
        DataError: the corpus cannot be split, or pretrained vectors cannot be read.
    """
    share = config.data.validation_share
    if share * len(corpus.train) < config.data.fewest_validation:
        share = 0.0  # cross-validation follows
    splits = split_corpus(corpus, validation_share=share, seed=config.data.split_seed)
    learned = LabelledTexts(tuple(swapped(config, splits.train.texts)), splits.train.labels)
    splits = replace(splits, train=learned)
    if corpus.excluded is not None:
        progress.say(corpus.excluded.described())
    progress.say(_describe(splits))
    tokenizer = Tokenizer.fit(splits.train.texts, max_words=config.data.max_words)
    train, validation = (_encode(tokenizer, part, config) for part in (splits.train, splits.validation))
    test = None if splits.test is None else _encode(tokenizer, splits.test, config)
    architecture = config.classifier(vocabulary_size=tokenizer.vocabulary_size, labels=len(corpus.label_names))
    vectors = coverage = None
    if config.vectors and config.vectors.file is not None:
        file = Path(config.vectors.file)
        vectors, found = read_vectors(file, tokenizer, dim=architecture.embedding_dim, seed=config.seed)
        coverage = coverage_of(file, found, train.ids)
        progress.say(
            f"{file}: vectors of {coverage['words']:,} of {coverage['of_words']:,} words of the vocabulary, which are "
            f"{coverage['tokens']:.1%} of the tokens of train"
        )
    elif config.vectors and vectors_file.exists():
        vectors = np.load(vectors_file, allow_pickle=False)
    elif config.vectors:
        texts = [*splits.train.texts, *splits.unlabelled]
        vectors = train_vectors(
            texts, tokenizer, config.vectors, dim=architecture.embedding_dim, seed=config.seed, progress=progress
        )
        partial = vectors_file.with_suffix(".partial.npy")
        np.save(partial, vectors)
        partial.rename(vectors_file)
    progress.say("measuring the baselines")
    held_out, folds = splits.validation if splits.test is None else splits.test, None
    if not len(held_out):
        folds = assign_folds(splits.train.labels, config.data.folds, config.data.split_seed)
    baselines = measure_baselines(splits.train, held_out, corpus.label_names, folds)
    return Prepared(splits, tokenizer, vectors, train, validation, test, baselines, coverage)


def swapped(config: TrainConfig, texts: Sequence[str], part: int = 0) -> Sequence[str]:
    """Return the texts with names and pronouns exchanged in half of them, if `config` asks for it."""
    if not config.data.swap_names:
        return texts
    generator = np.random.default_rng([config.seed, part])
    return [swap(text, generator) for text in texts]


def _encode(tokenizer: Tokenizer, part: LabelledTexts, config: TrainConfig) -> EncodedTexts:
    return encode_texts(tokenizer, part.texts, part.labels, config.data.max_tokens)


def _describe(splits: Splits) -> str:
    sizes = [f"train {len(splits.train):,}", f"validation {len(splits.validation):,}"]
    if splits.test is not None:
        sizes.append(f"test {len(splits.test):,}")
    sizes.append(f"unlabelled {len(splits.unlabelled):,}")
    left_out = [f"{count:,} {where.replace('_', ' ')}" for where, count in splits.left_out.items()]
    return f"{', '.join(sizes)}; duplicates: {', '.join(left_out)}"
