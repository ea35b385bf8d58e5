"""Word vectors: trained on a corpus, or read from a file."""

import gzip
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models import Word2Vec
from gensim.models.callbacks import CallbackAny2Vec

from models.tokenizer import FIRST_WORD_ID, PAD_ID, Tokenizer, split
from training import DataError
from training.config import VectorsConfig
from training.progress import Progress


def train_vectors(
    texts: Sequence[str], tokenizer: Tokenizer, config: VectorsConfig, *, dim: int, seed: int, progress: Progress
) -> np.ndarray:
    """Train word vectors by negative sampling (Mikolov et al. 2013), with skip-gram or CBOW.

    Returns:
        float32[vocabulary, dim]: zeros for padding, random vectors of the same spread for rare words and the unknown
        word. Two runs with one seed are alike to the bit.
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
        workers=1,  # several interleave differently in every run
        seed=seed,
        callbacks=[_OnEpochEnd(lambda: progress.advance("word vectors", next(epochs), config.epochs))],
    ).wv
    table = _random_table(tokenizer, dim, trained.vectors.std(), seed)
    for position, word in enumerate(tokenizer.words):
        if word in trained.key_to_index:
            table[FIRST_WORD_ID + position] = trained[word]
    return table


def read_vectors(file: Path, tokenizer: Tokenizer, *, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Read pretrained vectors: GloVe, word2vec's text format or fastText's .vec, also gzipped.

    A line is a word and its numbers; the first may hold two counts instead. A word is looked up as it stands, and in
    lower case if the file has none so spelled.

    Returns:
        float32[vocabulary, dim], zeros for padding and random vectors of the same spread for words without one, and
        the ids that have one, bool[vocabulary].

    Raises:
        DataError: the file cannot be read, its vectors have another size, or none is of a word in the vocabulary.
    """
    ids = {word: FIRST_WORD_ID + position for position, word in enumerate(tokenizer.words)}
    found: dict[int, np.ndarray] = {}
    checked = False
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                word, _, numbers = line.rstrip().partition(" ")
                if number == 1 and numbers.isdigit():
                    continue  # counts of words and numbers
                if not checked:
                    _check_size(file, number, numbers, dim)
                    checked = True
                place = ids.get(word) or ids.get(word.lower())
                if place is None or (word not in ids and place in found):
                    continue
                fields = numbers.split(" ")
                if len(fields) <= dim:  # else a word with spaces in it, which is no token
                    found[place] = _as_vector(fields, f"{file}: line {number}", dim)
    except (OSError, EOFError) as error:
        raise DataError(f"{file}: expected a readable file of word vectors. {error}.") from error
    if not found:
        raise DataError(f"{file}: expected vectors of words in the training texts. Found none.")
    vectors = np.stack(list(found.values()))
    table = _random_table(tokenizer, dim, float(vectors.std()), seed)
    table[list(found)] = vectors
    return table, np.isin(np.arange(len(table)), list(found))


def coverage_of(file: Path, found: np.ndarray, ids: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return how many words of the vocabulary have a vector, and which share of the tokens they are.

    Args:
        file: where the vectors are from.
        found: bool[vocabulary], the ids that have a vector.
        ids: int32[tokens] of each training text.
    """
    tokens = np.concatenate([*ids, np.zeros(0, np.int32)])
    return {
        "file": file.name,
        "words": int(found.sum()),
        "of_words": len(found) - FIRST_WORD_ID,
        "tokens": float(found[tokens].mean()) if len(tokens) else 0.0,
    }


def _check_size(file: Path, line: int, numbers: str, dim: int) -> None:
    size = len(numbers.split(" "))
    if size != dim:
        raise DataError(
            f"{file}: line {line}: expected a word and {dim} numbers, as model.embedding_dim says. Received {size}. If "
            f"the file is text: --set model.embedding_dim={size}."
        )


def _as_vector(fields: Sequence[str], where: str, dim: int) -> np.ndarray:
    with suppress(ValueError):
        vector = np.array(fields, np.float32)
        if len(vector) == dim and np.isfinite(vector).all():
            return vector
    raise DataError(f"{where}: expected a word and {dim} finite numbers. Received {' '.join(fields)!r:.60}.")


def _random_table(tokenizer: Tokenizer, dim: int, spread: float, seed: int) -> np.ndarray:
    table = np.random.default_rng(seed).normal(0.0, spread, (tokenizer.vocabulary_size, dim)).astype(np.float32)
    table[PAD_ID] = 0
    return table


class _OnEpochEnd(CallbackAny2Vec):
    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def on_epoch_end(self, model: Word2Vec) -> None:
        self._call()
