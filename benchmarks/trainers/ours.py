"""Our training of a configuration, as `python -m training train` does it, until the goal is reached."""

import contextlib
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from benchmarks.trainers.stopwatch import GoalReached, Stopwatch
from models.classifier import EMBEDDING, build_classifier
from training.checkpoint import Checkpoint
from training.config import TrainConfig, read_config
from training.data import Corpus
from training.fit import Fit
from training.forward import predict_logits
from training.material import Material, prepare

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def train(name: str, corpus: Corpus, seed: int) -> dict[str, Any]:
    """Figures of the configuration `name`, word vectors counted in; its validation passes count as training."""
    config = read_config(CONFIGS / f"{name}.toml").model_copy(update={"seed": seed})
    keras.utils.set_random_seed(seed)
    with TemporaryDirectory() as folder:
        vectors = _VectorsTimer()
        started = time.monotonic(), time.process_time()
        material = prepare(config, corpus, vectors_file=Path(folder) / "vectors.npy", watcher=vectors)
        seconds, processor_seconds = time.monotonic() - started[0], time.process_time() - started[1]
        figures = _fit(config, material, Path(folder))
    return {
        **figures,
        "tokenizing_seconds": seconds - vectors.seconds,
        "tokenizing_processor_seconds": processor_seconds - vectors.processor_seconds,
        "vectors_seconds": vectors.seconds,
        "vectors_processor_seconds": vectors.processor_seconds,
    }


def _fit(config: TrainConfig, material: Material, folder: Path) -> dict[str, Any]:
    model = build_classifier(config.classifier(vocabulary_size=material.tokenizer.vocabulary_size, labels=2))
    if material.vectors is not None:
        model.get_layer(EMBEDDING).set_weights([material.vectors])
    logits = keras.Model(model.input, model.output["logits"])
    logits.compile(jit_compile=False)

    def predict(positions: np.ndarray) -> np.ndarray:
        return predict_logits(logits, [material.test.ids[position] for position in positions]).argmax(axis=1)

    fit = Fit(model, config, material.train, material.validation, Checkpoint(folder / "checkpoint.npz"))
    batches = -(-len(material.train.labels) // config.batch_size)
    stopwatch = Stopwatch(material.test.labels, predict, batches=batches)
    with contextlib.suppress(GoalReached):
        fit.run(resume=False, on_step=lambda *_: stopwatch.batch_done(), on_epoch=lambda _: None)
    return stopwatch.figures()


class _VectorsTimer:
    """A watcher that looks at the clock when the word vectors begin and at the end of each of their epochs."""

    seconds = processor_seconds = 0.0

    def say(self, message: str) -> None:
        print(message, flush=True)

    def advance(self, what: str, done: int, total: int, figures: str = "") -> None:
        if done == 0:
            self._started = time.monotonic(), time.process_time()
        self.seconds = time.monotonic() - self._started[0]
        self.processor_seconds = time.process_time() - self._started[1]
