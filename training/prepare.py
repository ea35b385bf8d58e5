"""Turn a corpus into what a classifier trains on: splits, vocabulary, token ids, word vectors."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gensim.models import Word2Vec
from gensim.models.callbacks import CallbackAny2Vec

from models.tokenizer import FIRST_WORD_ID, PAD_ID, Tokenizer, split
from training.batches import EncodedTexts, encode_texts
from training.config import TrainConfig, VectorsConfig
from training.data import Corpus, Splits, split_corpus
from training.progress import Progress


@dataclass(frozen=True, slots=True)
class Prepared:
    """A corpus that is split and tokenized, with its word vectors if any."""

    splits: Splits
    tokenizer: Tokenizer
    vectors: np.ndarray | None  # float32[vocabulary, embedding_dim]
    train: EncodedTexts
    validation: EncodedTexts
    test: EncodedTexts


def prepare(config: TrainConfig, corpus: Corpus, *, vectors_file: Path, progress: Progress) -> Prepared:
    """Split and tokenize the corpus, and train word vectors if `config` asks for them.

    Validation is empty if it would hold fewer texts than `config.data.fewest_validation`.

    Args:
        vectors_file: word vectors are read from here if it exists, and saved here otherwise.

    Raises:
        DataError: the corpus cannot be split.
    """
    share = config.data.validation_share
    if share * len(corpus.train) < config.data.fewest_validation:
        share = 0.0  # cross-validation follows
    splits = split_corpus(corpus, validation_share=share, seed=config.seed)
    progress.say(_describe(splits))
    tokenizer = Tokenizer.fit(splits.train.texts, max_words=config.data.max_words)
    vectors = None
    if config.vectors and vectors_file.exists():
        vectors = np.load(vectors_file, allow_pickle=False)
    elif config.vectors:
        architecture = config.classifier(vocabulary_size=tokenizer.vocabulary_size, labels=len(corpus.label_names))
        texts = [*splits.train.texts, *splits.unlabelled]
        vectors = train_vectors(
            texts, tokenizer, config.vectors, dim=architecture.embedding_dim, seed=config.seed, progress=progress
        )
        partial = vectors_file.with_suffix(".partial.npy")
        np.save(partial, vectors)
        partial.rename(vectors_file)
    train, validation, test = (
        encode_texts(tokenizer, part.texts, part.labels, config.data.max_tokens)
        for part in (splits.train, splits.validation, splits.test)
    )
    return Prepared(splits, tokenizer, vectors, train, validation, test)


def train_vectors(
    texts: Sequence[str], tokenizer: Tokenizer, config: VectorsConfig, *, dim: int, seed: int, progress: Progress
) -> np.ndarray:
    """Train word vectors by negative sampling (Mikolov et al. 2013), with skip-gram or CBOW.

    Returns:
        float32[vocabulary, dim]: zeros for padding, random vectors of the same spread for rare words and the unknown
        word. Two runs differ slightly, because gensim's threads interleave differently.
    """
    epochs = iter(range(1, config.epochs + 1))
    progress.advance("word vectors", 0, config.epochs)
    trained = Word2Vec(
        [list(split(text, tokenizer.rules)) for text in texts],
        vector_size=dim,
        sg=int(not config.cbow),
        window=config.window,
        negative=config.negative,
        sample=config.sample,
        min_count=config.min_count,
        epochs=config.epochs,
        workers=os.cpu_count() or 1,
        seed=seed,
        callbacks=[_OnEpochEnd(lambda: progress.advance("word vectors", next(epochs), config.epochs))],
    ).wv
    generator = np.random.default_rng(seed)
    table = generator.normal(0.0, trained.vectors.std(), (tokenizer.vocabulary_size, dim)).astype(np.float32)
    for position, word in enumerate(tokenizer.words):
        if word in trained.key_to_index:
            table[FIRST_WORD_ID + position] = trained[word]
    table[PAD_ID] = 0
    return table


class _OnEpochEnd(CallbackAny2Vec):
    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def on_epoch_end(self, model: Word2Vec) -> None:
        self._call()


def _describe(splits: Splits) -> str:
    left_out = splits.left_out
    return (
        f"train {len(splits.train):,}, validation {len(splits.validation):,}, test {len(splits.test):,}, "
        f"unlabelled {len(splits.unlabelled):,}; left out as duplicates of validation or test texts: "
        f"{left_out['train_in_validation_or_test']} of train ({left_out['train_in_test']} of test), "
        f"{left_out['unlabelled_in_validation_or_test']} unlabelled"
    )
