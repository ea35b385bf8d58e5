"""Train the rows in several processes, each with the data in memory."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from benchmarks.records import Records
from benchmarks.zoo.rows import BASELINE, config_file
from models.bundle.store import Bundle, load_bundle
from training import ResumeError
from training.batches import for_prediction, predict_tokens
from training.config import TrainConfig, read_config
from training.data.corpus import Corpus
from training.data.exclusion import leave_out
from training.data.load import load_corpus
from training.prepare import Prepared, prepare
from training.run import run_identity, train

ENTROPY_TEXTS = 1000


class Run(NamedTuple):
    """A row with a seed."""

    row: str
    seed: int

    @property
    def name(self) -> str:
        """Return the name of its bundle and its record."""
        return f"{self.row}-{self.seed}"


class Outcome(NamedTuple):
    """A finished run: its figures, or why it failed."""

    run: Run
    figures: dict[str, Any] | None
    failure: str | None = None


class _LogProgress:
    """Write the messages of a run to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def say(self, message: str) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(message + "\n")

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        """Ignore steps."""


def config_of(run: Run, *, epochs: int | None = None) -> TrainConfig:
    """Return the row's configuration with the run's seed; `epochs` limits every phase."""
    config = read_config(config_file(run.row)).model_copy(update={"seed": run.seed, "name": run.name})
    if epochs is None:
        return config
    phases = tuple(phase.model_copy(update={"epochs": min(epochs, phase.epochs)}) for phase in config.phases)
    return config.model_copy(update={"phases": phases})


def train_all(
    runs: Sequence[Run], data: Path, out: Path, *, workers: int, epochs: int | None = None
) -> Iterator[Outcome]:
    """Train runs without a record and yield every outcome as it is known, recorded ones first.

    All runs share the split, vocabulary and word vectors of the baseline's seed.
    """
    corpus = _load(data)
    records = Records(out / "records")
    waiting = []
    for run in runs:
        figures = records.read(run.name, run_identity(config_of(run, epochs=epochs), corpus))
        if figures is not None and (out / "bundles" / run.name).is_dir():
            yield Outcome(run, figures)
        else:
            waiting.append(run)
    if not waiting:
        return
    _prepare(corpus, out)  # trains the word vectors once, before several processes load them
    del corpus
    # One thread each: two runs in parallel finish sooner than one after the other with two threads.
    os.environ.update(dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(data, out)
    ) as processes:
        futures = {processes.submit(_train, run, out, epochs): run for run in waiting}
        for future in as_completed(futures):
            try:
                yield Outcome(futures[future], future.result())
            except Exception as error:  # a failed run does not stop the others
                yield Outcome(futures[future], None, f"{type(error).__name__}: {error}")


_corpus: Corpus
_prepared: Prepared


def _start(data: Path, out: Path) -> None:
    """Initialise a worker process."""
    global _corpus, _prepared
    _corpus = _load(data)
    _prepared = _prepare(_corpus, out)


def _load(data: Path) -> Corpus:
    return leave_out(load_corpus(data), read_config(config_file(BASELINE)).data.exclude_file)


def _prepare(corpus: Corpus, out: Path) -> Prepared:
    config = read_config(config_file(BASELINE))
    learned_from = {
        "data": corpus.fingerprint(),
        "seed": config.seed,
        "validation_share": config.data.validation_share,
        "max_words": config.data.max_words,
        "embedding_dim": config.model["embedding_dim"],
        "vectors": config.model_dump(mode="json")["vectors"],
    }
    digest = hashlib.sha256(json.dumps(learned_from, sort_keys=True).encode()).hexdigest()[:12]
    progress = _LogProgress(out / "preparation.log")
    return prepare(config, corpus, vectors_file=out / f"vectors-{digest}.npy", progress=progress)


def _train(run: Run, out: Path, epochs: int | None) -> dict[str, Any]:
    keras.backend.clear_session()  # frees what the last run left behind
    config, work = config_of(run, epochs=epochs), out / "work" / run.name
    bundle = out / "bundles" / run.name
    (out / "logs").mkdir(exist_ok=True)
    progress = _LogProgress(out / "logs" / f"{run.name}.log")
    try:
        train(config, _corpus, bundle, work=work, resume=True, progress=progress, prepared=_prepared)
    except ResumeError:
        train(config, _corpus, bundle, work=work, resume=False, restart=True, progress=progress, prepared=_prepared)
    figures = _figures(load_bundle(bundle))
    Records(out / "records").write(run.name, run_identity(config, _corpus), figures)
    return figures


def _figures(bundle: Bundle) -> dict[str, Any]:
    card, model = bundle.card, bundle.model
    measured = card.metrics[card.measured_on]
    return {
        "accuracy": measured["accuracy"],
        "auc": measured["auc"],
        "ece": measured["ece"],
        "parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        "parameters_of_attention": sum(
            int(np.prod(weight.shape))
            for layer in model.layers
            if layer.name.startswith(("attention", "query", "key", "last_norm", "position"))
            for weight in layer.trainable_weights
        ),
        "fit_processor_seconds": card.training["fit_processor_seconds"],
        "attention_is": card.attention_is,
        "contributions": "contributions" in model.output,
        "entropy": _entropy(bundle),
        "faithfulness": card.faithfulness["rankings"],
        "above_chance": card.faithfulness["above_chance"],
    }


def _entropy(bundle: Bundle) -> float:
    """Return the mean entropy of the token weights over the first texts held out, relative to uniform weights."""
    forward = for_prediction(bundle.model)
    shares = []
    _, _, held_out = _prepared.measured
    for ids in [ids for ids in held_out.ids if len(ids) > 1][:ENTROPY_TEXTS]:
        weights = predict_tokens(forward, ids)["attention"].astype("float64")
        positive = weights[weights > 0]
        shares.append(-(positive * np.log(positive)).sum() / np.log(len(ids)))
    return float(np.mean(shares))
