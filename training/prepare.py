"""Turn a corpus into what a classifier trains on: splits, vocabulary, token ids, word vectors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.tokenizer import Tokenizer
from training.batches import EncodedTexts, encode_texts
from training.config import TrainConfig
from training.data.corpus import Corpus
from training.data.splits import Splits, split_corpus
from training.measuring.baselines import measure_baselines
from training.progress import Progress
from training.vectors import coverage_of, read_vectors, train_vectors


@dataclass(frozen=True, slots=True)
class Prepared:
    """A corpus that is split and tokenized, with its word vectors if any, and the baselines for it."""

    splits: Splits
    tokenizer: Tokenizer
    vectors: np.ndarray | None  # float32[vocabulary, embedding_dim]
    train: EncodedTexts
    validation: EncodedTexts
    test: EncodedTexts
    baselines: dict[str, Any]  # their figures on the test set
    coverage: dict[str, Any] | None = None  # of pretrained vectors


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
    splits = split_corpus(corpus, validation_share=share, seed=config.seed)
    if corpus.excluded is not None:
        progress.say(corpus.excluded.described())
    progress.say(_describe(splits))
    tokenizer = Tokenizer.fit(splits.train.texts, max_words=config.data.max_words)
    train, validation, test = (
        encode_texts(tokenizer, part.texts, part.labels, config.data.max_tokens)
        for part in (splits.train, splits.validation, splits.test)
    )
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
    baselines = measure_baselines(splits.train, splits.test, corpus.label_names)
    return Prepared(splits, tokenizer, vectors, train, validation, test, baselines, coverage)


def _describe(splits: Splits) -> str:
    left_out = splits.left_out
    return (
        f"train {len(splits.train):,}, validation {len(splits.validation):,}, test {len(splits.test):,}, "
        f"unlabelled {len(splits.unlabelled):,}; left out as duplicates of validation or test texts: "
        f"{left_out['train_in_validation_or_test']} of train ({left_out['train_in_test']} of test), "
        f"{left_out['unlabelled_in_validation_or_test']} unlabelled"
    )
