"""Train two tiny classifiers and print a hash of the weights of each; the texts are enough for several threads."""

import hashlib
import random
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

import training.run
from tests.training.conftest import make_review
from tests.training.test_ngrams import NGRAMS
from tests.training.tiny_run import TINY, RecordedProgress
from training.data.corpus import Corpus, LabelledTexts


class Trained(Exception):
    """Ends a run once its weights are known: measuring and saving them takes long and learns nothing."""


def make_corpus(several: int) -> Corpus:
    """Return made-up reviews, `several` of them without a label."""
    generator = random.Random(7)
    labels = np.arange(200, dtype=np.int32) % 2
    train = LabelledTexts(tuple(make_review(("neg", "pos")[label], generator) for label in labels), labels)
    unlabelled = tuple(make_review("pos", generator) for _ in range(several))
    return Corpus("made up", ("neg", "pos"), train, None, unlabelled)


def print_weights(model: keras.Model) -> None:
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights()))
    print(digest.hexdigest(), flush=True)
    raise Trained


def main() -> None:
    training.run.for_prediction = print_weights
    bilstm = TINY.model_copy(update={"phases": [phase.model_copy(update={"epochs": 1}) for phase in TINY.phases]})
    for config in (bilstm, NGRAMS):
        with TemporaryDirectory() as folder:
            corpus, progress = make_corpus(4000 if config.vectors else 0), RecordedProgress()
            with suppress(Trained):
                training.run.train(
                    config, corpus, Path(folder) / "b", work=Path(folder) / "w", resume=False, progress=progress
                )


if __name__ == "__main__":
    main()
