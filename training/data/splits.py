"""Split labelled texts, so that no held-out text is learned from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from training import DataError
from training.data.corpus import Corpus, LabelledTexts, label_counts, text_key

_LABELS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Splits:
    """A split corpus; no training or unlabelled text is a duplicate of a validation or test text.

    Attributes:
        test: None where the corpus has none of its own.
        left_out: counts of duplicates, by where they were; texts that differ in case and white space alone count.
    """

    train: LabelledTexts
    validation: LabelledTexts
    test: LabelledTexts | None
    unlabelled: tuple[str, ...]
    left_out: dict[str, int]


def split_corpus(corpus: Corpus, *, validation_share: float, seed: int) -> Splits:
    """Hold out a validation set, the same for the same seed, and remove duplicates of held-out texts from train.

    A share of 0 holds out none.

    Raises:
        DataError: a label has too few texts to split.
    """
    if validation_share:
        train, validation = split_texts(corpus.train, corpus.label_names, validation_share, seed, Path(corpus.source))
    else:
        train, validation = corpus.train, corpus.train.take(np.arange(0))
    test_texts = () if corpus.test is None else corpus.test.texts
    test_keys = {text_key(text) for text in test_texts}
    held_out = test_keys | {text_key(text) for text in validation.texts}
    train_keys = [text_key(text) for text in train.texts]
    kept = np.array([i for i, key in enumerate(train_keys) if key not in held_out], dtype=np.int64)
    unlabelled = tuple(text for text in corpus.unlabelled if text_key(text) not in held_out)
    held = "validation" if corpus.test is None else "validation_or_test"
    left_out = {
        f"train_in_{held}": len(train) - len(kept),
        f"unlabelled_in_{held}": len(corpus.unlabelled) - len(unlabelled),
        "twice_in_train": len(train_keys) - len(set(train_keys)),
    }
    if corpus.test is not None:
        left_out |= {
            "train_in_test": sum(key in test_keys for key in train_keys),
            "validation_in_test": sum(text_key(text) in test_keys for text in validation.texts),
            "twice_in_test": len(test_texts) - len(test_keys),
        }
    return Splits(train.take(kept), validation, corpus.test, unlabelled, left_out)


def split_texts(
    whole: LabelledTexts, label_names: Sequence[str], share: float, seed: int, path: Path
) -> tuple[LabelledTexts, LabelledTexts]:
    """Split in two, stratified by label; the second part gets `share` of the texts.

    Raises:
        DataError: a label of the texts in `path` has too few to split.
    """
    try:
        first, second = train_test_split(
            np.arange(len(whole)), test_size=share, random_state=seed, stratify=whole.labels
        )
    except ValueError as error:
        counts = sorted(label_counts(whole.labels, label_names).items(), key=lambda each: each[1])
        fewest = ", ".join(f"{name!r} {count}" for name, count in counts[:_LABELS_SHOWN])
        raise DataError(
            f"{path}: cannot be split with {share:.0%} held out: each part needs a text of every label. "
            f"Labels with the fewest texts: {fewest}. Add texts, or leave out rare labels."
        ) from error
    return whole.take(np.sort(first)), whole.take(np.sort(second))
