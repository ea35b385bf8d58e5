"""Train a configuration as `python -m training train` does, until the goal is reached."""

import contextlib
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from benchmarks.trainers.stopwatch import GoalReached, Stopwatch
from models.classifier import EMBEDDING, build_classifier
from training.batches import EncodedTexts, encode_texts, predict_logits
from training.checkpoint import Checkpoint
from training.config import TrainConfig, read_config
from training.data.corpus import Corpus, LabelledTexts
from training.data.exclusion import leave_out
from training.fit import Fit
from training.prepare import Prepared, prepare

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def train(name: str, corpus: Corpus, test: LabelledTexts, seed: int) -> dict[str, Any]:
    """Return the figures of the configuration `name` on `test`; word vectors and validation count as training time."""
    config = read_config(CONFIGS / f"{name}.toml").model_copy(update={"seed": seed})
    keras.utils.set_random_seed(seed)
    corpus = leave_out(corpus, config.data.exclude_file)
    with TemporaryDirectory() as folder:
        vectors = _VectorsTimer()
        started = time.monotonic(), time.process_time()
        prepared = prepare(config, corpus, vectors_file=Path(folder) / "vectors.npy", progress=vectors)
        seconds, processor_seconds = time.monotonic() - started[0], time.process_time() - started[1]
        encoded = encode_texts(prepared.tokenizer, test.texts, test.labels, config.data.max_tokens)
        figures = _fit(config, prepared, encoded, Path(folder))
    return {
        **figures,
        "tokenizing_seconds": seconds - vectors.seconds,
        "tokenizing_processor_seconds": processor_seconds - vectors.processor_seconds,
        "vectors_seconds": vectors.seconds,
        "vectors_processor_seconds": vectors.processor_seconds,
    }


def _fit(config: TrainConfig, prepared: Prepared, test: EncodedTexts, folder: Path) -> dict[str, Any]:
    model = build_classifier(config.classifier(vocabulary_size=prepared.tokenizer.vocabulary_size, labels=2))
    if prepared.vectors is not None:
        model.get_layer(EMBEDDING).set_weights([prepared.vectors])
    logits = keras.Model(model.input, model.output["logits"])
    logits.compile(jit_compile=False)

    def predict(positions: np.ndarray) -> np.ndarray:
        return predict_logits(logits, [test.ids[position] for position in positions]).argmax(axis=1)

    batches = -(-len(prepared.train.labels) // config.batch_size)
    stopwatch = Stopwatch(test.labels, predict, batches=batches)
    fit = Fit(model, config, prepared.train, prepared.validation, Checkpoint(folder / "checkpoint.npz"))
    with contextlib.suppress(GoalReached):
        fit.run(_BatchProgress(stopwatch), resume=False)
    return stopwatch.figures()


class _VectorsTimer:
    """Measure the time from the start of the word vectors to the end of their last epoch."""

    seconds = processor_seconds = 0.0

    def say(self, message: str) -> None:
        print(message, flush=True)

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        if done == 0:
            self._started = time.monotonic(), time.process_time()
        self.seconds = time.monotonic() - self._started[0]
        self.processor_seconds = time.process_time() - self._started[1]


class _BatchProgress:
    """Tell a stopwatch about every batch."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch

    def say(self, message: str) -> None:
        print(message, flush=True)

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        self._stopwatch.batch_done()
