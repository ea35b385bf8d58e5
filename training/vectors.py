"""Word vectors from the texts at hand, labelled or not."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from gensim.models import Word2Vec
from gensim.models.callbacks import CallbackAny2Vec

from models.tokenizer import FIRST_WORD_ID, PAD_ID, Tokenizer, split
from training.config import VectorsConfig


class _Sentences:
    """The texts as lists of tokens, tokenized once: gensim reads them once an epoch."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._sentences = [list(split(text)) for text in texts]

    def __iter__(self) -> Iterator[list[str]]:
        return iter(self._sentences)


class _EpochReport(CallbackAny2Vec):
    def __init__(self, report: Callable[[], None]) -> None:
        self._report = report

    def on_epoch_end(self, model: Word2Vec) -> None:
        self._report()


def train_vectors(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    config: VectorsConfig,
    *,
    dim: int,
    seed: int,
    workers: int,
    on_epoch: Callable[[], None],
) -> np.ndarray:
    """Word vectors with negative sampling (Mikolov et al. 2013) for the vocabulary of `tokenizer`: skip-gram, or CBOW.

    Returns:
        float32[vocabulary, dim]: zeros for padding; words that are too rare, and the unknown word, get random vectors
        of the same spread. With several workers two runs differ a little, as threads interleave differently.
    """
    trained = Word2Vec(
        _Sentences(texts),
        vector_size=dim,
        sg=int(not config.cbow),
        window=config.window,
        negative=config.negative,
        sample=config.sample,
        min_count=config.min_count,
        epochs=config.epochs,
        workers=workers,
        seed=seed,
        callbacks=[_EpochReport(on_epoch)],
    ).wv
    generator = np.random.default_rng(seed)
    table = generator.normal(0.0, trained.vectors.std(), (tokenizer.vocabulary_size, dim)).astype(np.float32)
    for position, word in enumerate(tokenizer.words):
        if word in trained.key_to_index:
            table[FIRST_WORD_ID + position] = trained[word]
    table[PAD_ID] = 0
    return table
