"""Training the rows: several processes, each with the data in memory, each one run after the other."""

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

from benchmarks.zoo.records import Records
from benchmarks.zoo.rows import BASELINE, config_file
from models.bundle.store import Bundle, load_bundle
from training.config import TrainConfig, read_config
from training.data import Corpus, load_corpus
from training.forward import compiled, predict_tokens
from training.material import Material, prepare
from training.run import train

ENTROPY_TEXTS = 1000


class Run(NamedTuple):
    """One row with one seed."""

    row: str
    seed: int

    @property
    def name(self) -> str:
        """Of its bundle and its record."""
        return f"{self.row}-{self.seed}"


class Outcome(NamedTuple):
    """A run that is over: its figures, or why it has none."""

    run: Run
    figures: dict[str, Any] | None
    failure: str | None = None


class _Lines:
    """A watcher that keeps a run's lines in a file, as several run at once."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def say(self, message: str) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(message + "\n")

    def advance(self, what: str, done: int, total: int, figures: str = "") -> None:
        """Steps are not worth a line."""


def config_of(run: Run, *, epochs: int | None = None) -> TrainConfig:
    """The row's configuration with the run's seed; `epochs` cuts every phase to so many."""
    config = read_config(config_file(run.row)).model_copy(update={"seed": run.seed, "name": run.name})
    if epochs is None:
        return config
    phases = tuple(phase.model_copy(update={"epochs": min(epochs, phase.epochs)}) for phase in config.phases)
    return config.model_copy(update={"phases": phases})


def train_all(
    runs: Sequence[Run], data: Path, out: Path, *, workers: int, epochs: int | None = None
) -> Iterator[Outcome]:
    """Train what has no record yet, and give every run's outcome as it is known, the recorded ones first.

    Every run starts from the same split, vocabulary and word vectors, those of the baseline's seed.
    """
    corpus = load_corpus(data, text_column="text", label_column="label")
    fingerprint, records = corpus.fingerprint(), Records(out / "records")
    waiting = []
    for run in runs:
        figures = records.read(run.name, _subject(config_of(run, epochs=epochs), fingerprint))
        if figures is not None and (out / "bundles" / run.name).is_dir():
            yield Outcome(run, figures)
        else:
            waiting.append(run)
    if not waiting:
        return
    _prepare(corpus, out)  # word vectors, once, before several processes want them
    del corpus
    # One thread each: two runs side by side get more done than two threads in one run.
    os.environ.update(dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(data, out)
    ) as processes:
        futures = {processes.submit(_train, run, out, epochs): run for run in waiting}
        for future in as_completed(futures):
            try:
                yield Outcome(futures[future], future.result())
            except Exception as error:  # one run that fails does not take the others with it
                yield Outcome(futures[future], None, f"{type(error).__name__}: {error}")


_corpus: Corpus
_material: Material


def _start(data: Path, out: Path) -> None:
    """What each process does once."""
    global _corpus, _material
    _corpus = load_corpus(data, text_column="text", label_column="label")
    _material = _prepare(_corpus, out)


def _prepare(corpus: Corpus, out: Path) -> Material:
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
    watcher = _Lines(out / "preparation.log")
    return prepare(config, corpus, vectors_file=out / f"vectors-{digest}.npy", watcher=watcher)


def _train(run: Run, out: Path, epochs: int | None) -> dict[str, Any]:
    keras.backend.clear_session()  # what the run before left behind
    config, work = config_of(run, epochs=epochs), out / "work" / run.name
    bundle = out / "bundles" / run.name
    (out / "logs").mkdir(exist_ok=True)
    train(
        config,
        _corpus,
        bundle,
        work=work,
        resume=_can_resume(work, config, _corpus),
        watcher=_Lines(out / "logs" / f"{run.name}.log"),
        material=_material,
    )
    figures = _figures(load_bundle(bundle))
    Records(out / "records").write(run.name, _subject(config, _corpus.fingerprint()), figures)
    return figures


def _can_resume(work: Path, config: TrainConfig, corpus: Corpus) -> bool:
    try:
        stopped = json.loads((work / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    identity = {"config": config.model_dump(mode="json"), "data": corpus.fingerprint()}
    return bool(stopped == identity) and (work / "checkpoint.npz").exists()


def _subject(config: TrainConfig, fingerprint: str) -> dict[str, Any]:
    return {"config": config.model_dump(mode="json"), "data": fingerprint}


def _figures(bundle: Bundle) -> dict[str, Any]:
    card, model = bundle.card, bundle.model
    test = card.metrics["test"]
    return {
        "accuracy": test["accuracy"],
        "auc": test["auc"],
        "ece": test["ece"],
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
    """Mean entropy of the token weights over the first test texts, as a share of that of uniform weights."""
    forward = compiled(bundle.model)
    shares = []
    for ids in [ids for ids in _material.test.ids if len(ids) > 1][:ENTROPY_TEXTS]:
        weights = predict_tokens(forward, ids)["attention"].astype("float64")
        positive = weights[weights > 0]
        shares.append(-(positive * np.log(positive)).sum() / np.log(len(ids)))
    return float(np.mean(shares))
