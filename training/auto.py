"""A recipe chosen for a table, from its size, the lengths of its texts and its labels.

The recipe is attention over hashed n-grams. `choose` holds the rules; docs/training.md explains them to users.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.layers.ngram_attention import NgramAttention
from models.tokenizer import Tokenizer, split
from training.batches import encode_texts
from training.config import TrainConfig, as_config
from training.data.corpus import Corpus
from training.ngrams import ngram_counts

NAME = "auto"

SHORT = 50  # tokens
FEW = 10_000  # texts
MOST_BUCKETS = 1 << 22
BUCKETS_PER_NGRAM = 4
RARE = 0.1  # of all texts
VALIDATION = 200  # texts
_SAMPLE = 2_000
MAX_WORDS = 100_000
MAX_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a table, from which the rules choose.

    Attributes:
        texts: texts in the training part, validation included.
        tokens: median tokens of a text.
        characters: whether most tokens are single characters, as in Chinese.
        labels: number of labels.
        rarest: share of the rarest label.
    """

    texts: int
    tokens: int
    characters: bool
    labels: int
    rarest: float


def facts_of(corpus: Corpus) -> Facts:
    """Return the facts of the training part; of lengths and characters, those of 2,000 texts spread over it."""
    texts, labels = corpus.train.texts, corpus.train.labels
    drawn = [list(split(text)) for text in texts[:: -(-len(texts) // _SAMPLE)]]
    tokens = [token for text in drawn for token in text]
    single = sum(len(token) == 1 and token.isalpha() and not token.isascii() for token in tokens)
    return Facts(
        texts=len(texts),
        tokens=int(np.median([len(text) for text in drawn])),
        characters=2 * single > len(tokens),
        labels=len(corpus.label_names),
        rarest=float(np.bincount(labels, minlength=len(corpus.label_names)).min() / len(labels)),
    )


def choose(corpus: Corpus, overrides: Sequence[str] = ()) -> tuple[TrainConfig, list[str]]:
    """Return the recipe for a corpus, changed by `overrides`, and lines that say what it is and why.

    Raises:
        ConfigError: an override has an unknown key or an invalid value.
    """
    facts = facts_of(corpus)
    short, few = facts.tokens <= SHORT, facts.texts <= FEW
    longest, min_count, scale, dropout, attention_rate = 2, 3, 10.0, 0.5, 1.0
    if short:
        rule, min_count, scale, dropout, learning_rate = f"at most {SHORT} tokens", 2, 3.0, 0.3, 0.15
    elif few:
        rule, learning_rate = f"more than {SHORT} tokens, at most {FEW:,} texts", 0.3
    else:
        rule, longest, attention_rate, learning_rate = f"more than {SHORT} tokens and {FEW:,} texts", 3, 0.1, 0.5
    if facts.characters:
        rule, longest, min_count = f"{rule}, a character each", 3, 3
    kept, buckets = _table_size(corpus, longest, min_count)
    values: dict[str, Any] = {
        "name": NAME,
        "data": {"max_words": MAX_WORDS, "max_tokens": MAX_TOKENS, "validation_share": _validation_share(corpus)},
        "ngrams": {"min_count": min_count, "start_attention": 0.3, "attention_rate": attention_rate, "pull": 1e-6},
        "model": {
            "encoder": "none",
            "mechanism": "ngram_attention",
            "attention": {"longest": longest, "buckets": buckets, "scale": scale, "dropout": dropout, "bits": 8},
        },
        "phases": [{"epochs": 3, "learning_rate": learning_rate}],
    }
    if facts.rarest < RARE:
        values["class_weight"] = "balanced"
    unit = "characters" if facts.characters else "tokens"
    why = [
        f"auto: {facts.texts:,} texts to learn from, {facts.tokens} {unit} each (median), {facts.labels} labels",
        f"auto: {rule}: attention over n-grams of 1 to {longest} {unit} that at least {min_count} texts hold, {kept:,} "
        f"of them in {buckets:,} buckets; scale {scale:g}, learning rate {learning_rate:g}, that of the attention "
        f"{attention_rate:g} of it",
        f"auto: the rarest label has {facts.rarest:.1%}: "
        + ("labels weigh alike" if facts.rarest < RARE else "texts weigh alike"),
    ]
    return as_config(values, overrides, source=NAME), why


def _validation_share(corpus: Corpus) -> float:
    """Return a tenth, or less where that is more than 200 texts, but at least a fiftieth.

    A fifth where there is no test part, so that validation measures too.
    """
    if corpus.test is None:
        return 0.2
    return round(min(0.1, max(0.02, (VALIDATION + 1) / len(corpus.train))), 4)


def _table_size(corpus: Corpus, longest: int, min_count: int) -> tuple[int, int]:
    """Return how many n-grams are kept, and the least power of two that is four times that, up to 2^22."""
    tokenizer = Tokenizer.fit(corpus.train.texts, max_words=MAX_WORDS)
    texts = encode_texts(tokenizer, corpus.train.texts, np.zeros(len(corpus.train), np.int32), MAX_TOKENS)
    counts = ngram_counts(NgramAttention(longest=longest, buckets=2 * MOST_BUCKETS), texts.ids, texts.targets(1))
    kept = int((counts >= min_count).sum())
    return kept, min(MOST_BUCKETS, 1 << max(1, BUCKETS_PER_NGRAM * kept - 1).bit_length())
