"""Processor time of a training step: plain Keras, ours, compiled with XLA, and in bfloat16.

    .venv/bin/python -m benchmarks.steps default additive_pooling multi_head local sparse

Runs the variants alternately in one process on one thread, over full batches of synthetic texts of two lengths. The
last figure is the processor time that XLA takes to compile the widths.
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
from training.speedups import with_fused_lstm

Batches = list[tuple[np.ndarray, np.ndarray]]  # ids int32[texts, tokens], labels int32[texts]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to train a classifier."""

    name: str
    ours: bool = True
    jit_compile: bool = False
    dtype: str = "float32"


VARIANTS = (
    Variant("Keras", ours=False),
    Variant("ours"),
    Variant("XLA", jit_compile=True),
    Variant("bfloat16", dtype="mixed_bfloat16"),
)


def main() -> None:
    """Print a line per configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", help="names of files in training/configs")
    parser.add_argument("--lengths", nargs="+", type=int, default=[160, 256], help="tokens of the texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--variants",
        nargs="+",
        default=[variant.name for variant in VARIANTS],
        choices=[variant.name for variant in VARIANTS],
    )
    given = parser.parse_args()
    variants = [variant for variant in VARIANTS if variant.name in given.variants]
    print("| ms a step | " + " | ".join(variant.name for variant in variants) + " | XLA compiles, s |")
    print("| --- " * (len(variants) + 2) + "|")
    for name in given.configs:
        config = read_config(CONFIGS / f"{name}.toml")
        steps, first = measured(config, variants, _batches(config, given.lengths), given.rounds)
        compiling = f"{first['XLA'] - steps['XLA'] * 2 * len(given.lengths):.0f}" if "XLA" in steps else ""
        print(
            f"| {name} | "
            + " | ".join(f"{1000 * steps[variant.name]:.0f}" for variant in variants)
            + f" | {compiling} |",
            flush=True,
        )


def measured(
    config: TrainConfig, variants: list[Variant], batches: Batches, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Processor seconds of a step, and of the first pass over the batches, by variant."""
    nets: dict[str, keras.Model] = {}
    first: dict[str, float] = {}
    later: defaultdict[str, float] = defaultdict(float)
    for variant in variants:
        nets[variant.name] = _net(config, variant)
        first[variant.name] = _pass(nets[variant.name], batches)
    for _ in range(rounds):
        for name, net in nets.items():
            later[name] += _pass(net, batches) / rounds / len(batches)
    return dict(later), first


def _net(config: TrainConfig, variant: Variant) -> keras.Model:
    """Return a classifier with a fresh optimizer; word vectors are trained too."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(variant.dtype)
    model = build_classifier(config.classifier(vocabulary_size=config.data.max_words + FIRST_WORD_ID, labels=2))
    net = keras.Model(model.input, model.output["logits"])
    if variant.ours and not variant.jit_compile:
        net = with_fused_lstm(net)
    net.compile(
        keras.optimizers.Adam(1e-3, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=variant.jit_compile,
    )
    return net


def _pass(net: keras.Model, batches: Batches) -> float:
    started = time.process_time()
    for ids, labels in batches:
        net.train_on_batch(ids, labels, return_dict=True)
    return time.process_time() - started


def _batches(config: TrainConfig, lengths: list[int]) -> Batches:
    """Return two batches of each length, with Zipf-distributed words."""
    generator = np.random.default_rng(config.seed)
    batches = []
    for length in [*lengths, *lengths]:
        ranks = generator.zipf(1.3, (config.batch_size, length)) % config.data.max_words
        batches.append(((ranks + FIRST_WORD_ID).astype(np.int32), generator.integers(0, 2, config.batch_size)))
    return batches


if __name__ == "__main__":
    main()
