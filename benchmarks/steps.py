"""Processor time of a training step: as Keras does it, as we do, compiled by XLA, and in bfloat16.

    .venv/bin/python -m benchmarks.steps default additive_pooling multi_head local sparse

On one thread, the ways by turns in one process, over full batches of made-up texts of two lengths; needs no data. The
last figure is the processor time that the first steps of XLA take over those that follow: it compiles each width.
"""

import argparse
import os
import time
from collections import defaultdict
from dataclasses import dataclass

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.update(dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"))

import keras
import numpy as np

from benchmarks.trainers.ours import CONFIGS
from models.classifier import build_classifier
from models.tokenizer import FIRST_WORD_ID
from training.config import TrainConfig, read_config
from training.optimizer import make_adam
from training.recurrence import with_fused_recurrence

Batches = list[tuple[np.ndarray, np.ndarray]]  # ids int32[texts, tokens], labels int32[texts]


@dataclass(frozen=True, slots=True)
class Way:
    """How a classifier is trained."""

    name: str
    ours: bool = True
    jit_compile: bool = False
    dtype: str = "float32"


WAYS = (
    Way("Keras", ours=False),
    Way("ours"),
    Way("XLA", jit_compile=True),
    Way("bfloat16", dtype="mixed_bfloat16"),
)


def main() -> None:
    """Print a line for each configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", help="names of files in training/configs")
    parser.add_argument("--lengths", nargs="+", type=int, default=[160, 256], help="tokens of the texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=[way.name for way in WAYS], choices=[way.name for way in WAYS])
    given = parser.parse_args()
    ways = [way for way in WAYS if way.name in given.ways]
    print("| ms a step | " + " | ".join(way.name for way in ways) + " | XLA compiles, s |")
    print("| --- " * (len(ways) + 2) + "|")
    for name in given.configs:
        config = read_config(CONFIGS / f"{name}.toml")
        steps, first = measured(config, ways, _batches(config, given.lengths), given.rounds)
        compiling = f"{first['XLA'] - steps['XLA'] * 2 * len(given.lengths):.0f}" if "XLA" in steps else ""
        print(
            f"| {name} | " + " | ".join(f"{1000 * steps[way.name]:.0f}" for way in ways) + f" | {compiling} |",
            flush=True,
        )


def measured(
    config: TrainConfig, ways: list[Way], batches: Batches, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Processor seconds of a step, and of the first pass over the batches, by way."""
    nets: dict[str, keras.Model] = {}
    first: dict[str, float] = {}
    later: defaultdict[str, float] = defaultdict(float)
    for way in ways:
        nets[way.name] = _net(config, way)
        first[way.name] = _pass(nets[way.name], batches)
    for _ in range(rounds):
        for name, net in nets.items():
            later[name] += _pass(net, batches) / rounds / len(batches)
    return dict(later), first


def _net(config: TrainConfig, way: Way) -> keras.Model:
    """A classifier with a fresh optimizer, that learns its word vectors too."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(way.dtype)
    model = build_classifier(config.classifier(vocabulary_size=config.data.max_words + FIRST_WORD_ID, labels=2))
    net = keras.Model(model.input, model.output["logits"])
    if way.ours and not way.jit_compile:
        net = with_fused_recurrence(net)
    net.compile(
        make_adam(1e-3, gradient_norm=1.0) if way.ours else keras.optimizers.Adam(1e-3, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=way.jit_compile,
    )
    return net


def _pass(net: keras.Model, batches: Batches) -> float:
    started = time.process_time()
    for ids, labels in batches:
        net.train_on_batch(ids, labels, return_dict=True)
    return time.process_time() - started


def _batches(config: TrainConfig, lengths: list[int]) -> Batches:
    """Two of each length, of words as common as those of a language."""
    generator = np.random.default_rng(config.seed)
    batches = []
    for length in [*lengths, *lengths]:
        ranks = generator.zipf(1.3, (config.batch_size, length)) % config.data.max_words
        batches.append(((ranks + FIRST_WORD_ID).astype(np.int32), generator.integers(0, 2, config.batch_size)))
    return batches


if __name__ == "__main__":
    main()
