"""From a corpus to what a classifier learns from: parts, tokens, word vectors."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.tokenizer import Tokenizer
from training.config import TrainConfig, VectorsConfig
from training.data import Corpus, LabelledTexts, Splits, split_corpus
from training.fit import EncodedTexts
from training.vectors import train_vectors
from training.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from, once the corpus is divided, tokenized and its words have vectors."""

    splits: Splits
    tokenizer: Tokenizer
    vectors: np.ndarray | None  # float32[vocabulary, embedding_dim]
    train: EncodedTexts
    validation: EncodedTexts
    test: EncodedTexts


def prepare(config: TrainConfig, corpus: Corpus, *, vectors_file: Path, watcher: Watcher) -> Material:
    """Divide and tokenize the corpus, and train word vectors if `config` wants any.

    Args:
        vectors_file: where they are kept, or read from if they are there.

    Raises:
        DataError: the corpus cannot be divided.
    """
    splits = split_corpus(corpus, validation_share=config.data.validation_share, seed=config.seed)
    watcher.say(_splits_line(splits))
    tokenizer = Tokenizer.fit(splits.train.texts, max_words=config.data.max_words)
    vectors = None
    if config.vectors:
        texts = [*splits.train.texts, *splits.unlabelled]
        architecture = config.classifier(vocabulary_size=tokenizer.vocabulary_size, labels=len(corpus.label_names))
        vectors = _vectors(
            texts,
            tokenizer,
            config.vectors,
            dim=architecture.embedding_dim,
            seed=config.seed,
            file=vectors_file,
            watcher=watcher,
        )
    encode = _Encoder(tokenizer, config.data.max_tokens)
    return Material(splits, tokenizer, vectors, encode(splits.train), encode(splits.validation), encode(splits.test))


class _Encoder:
    """Texts to ids, with one tokenizer and limit."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    def __call__(self, texts: LabelledTexts) -> EncodedTexts:
        return EncodedTexts([self._tokenizer.encode(text, self._max_tokens).ids for text in texts.texts], texts.labels)


def _vectors(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    settings: VectorsConfig,
    *,
    dim: int,
    seed: int,
    file: Path,
    watcher: Watcher,
) -> np.ndarray:
    """Word vectors of `texts`, kept in `file`: trained once a run, however often it is resumed."""
    if file.exists():
        vectors: np.ndarray = np.load(file, allow_pickle=False)
        return vectors
    epochs = iter(range(1, settings.epochs + 1))
    watcher.advance("word vectors", 0, settings.epochs)
    vectors = train_vectors(
        texts,
        tokenizer,
        settings,
        dim=dim,
        seed=seed,
        workers=os.cpu_count() or 1,
        on_epoch=lambda: watcher.advance("word vectors", next(epochs), settings.epochs),
    )
    partial = file.with_suffix(".partial.npy")
    np.save(partial, vectors)
    partial.rename(file)
    return vectors


def _splits_line(splits: Splits) -> str:
    left_out = splits.left_out
    return (
        f"train {len(splits.train):,}, validation {len(splits.validation):,}, test {len(splits.test):,}, "
        f"unlabelled {len(splits.unlabelled):,}; left out as duplicates of validation or test: "
        f"{left_out['train_in_validation_or_test']} of train ({left_out['train_in_test']} of test), "
        f"{left_out['unlabelled_in_validation_or_test']} unlabelled"
    )
