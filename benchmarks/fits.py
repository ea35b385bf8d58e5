"""Train a configuration anew with fewer labels, other seeds or changed values, and measure each on validation.

    .venv/bin/python -m benchmarks.fits training/configs/ngram.toml --data aclImdb_v1.tar.gz --labels 100 1000 10000
    .venv/bin/python -m benchmarks.fits training/configs/ngram.toml --data aclImdb_v1.tar.gz --seeds 1 2 3 \\
        --change model.attention.dropout=0.0 --change ngrams.start_attention=0.0

The texts, their tokens and their word vectors are prepared once, so a change must not be one of [data] or [vectors]. A
bag of words (TF-IDF, logistic regression) learns the same texts. Prints Markdown, a row as soon as it is measured.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from training.checkpoint import VECTORS_FILE
from training.config import TrainConfig, read_config
from training.data.exclusion import leave_out
from training.data.load import load_corpus
from training.fitting.members import fit_classifier
from training.measuring.baselines import measure_baselines
from training.prepare import Prepared, prepare
from training.progress import ConsoleProgress, Progress


def with_fewer(prepared: Prepared, labels: int, seed: int) -> Prepared:
    """Return the texts with a random `labels` of the labelled ones to learn from."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(prepared.train.labels))[:labels])
    splits = replace(prepared.splits, train=prepared.splits.train.take(chosen))
    return replace(prepared, splits=splits, train=prepared.train.take(chosen))


def accuracy_of(config: TrainConfig, names: tuple[str, ...], prepared: Prepared, progress: Progress) -> float:
    """Return the accuracy on validation of a classifier that is trained on `prepared`."""
    with TemporaryDirectory() as work:
        fitted = fit_classifier(config, names, prepared, Path(work), resume=False, progress=progress)
    return float((fitted.logits.argmax(axis=1) == fitted.labels).mean())


def row(first: str, accuracies: Sequence[float], words: float) -> str:
    """Return a row of the table: the mean, and the least and the most if there are several."""
    spread = f"{min(accuracies):.4f} to {max(accuracies):.4f}" if len(accuracies) > 1 else ""
    return f"| {first} | {np.mean(accuracies):.4f} | {spread} | {words:.4f} |"


def measure(
    file: Path, data: Path, numbers: Sequence[int], seeds: Sequence[int], changes: Sequence[str], progress: Progress
) -> Iterator[str]:
    """Yield the lines of the table: a row for each number of labels, of the file as it is and of each change."""
    config = read_config(file)
    corpus = leave_out(load_corpus(data), config.data.exclude_file)
    with TemporaryDirectory() as folder:
        prepared = prepare(config, corpus, vectors_file=Path(folder) / VECTORS_FILE, progress=progress)
    yield from ("| | accuracy on validation, mean | least to most | bag of words |", "| --- | --- | --- | --- |")
    for overrides in ([], *([change] for change in changes)):
        for number in numbers:
            found, words = [], []
            for seed in seeds:
                texts = with_fewer(prepared, number or len(prepared.train.labels), seed)
                changed = read_config(file, [f"seed={seed}", *overrides])
                found.append(accuracy_of(changed, corpus.label_names, texts, progress))
                baselines = measure_baselines(texts.splits.train, texts.splits.validation, corpus.label_names, None)
                words.append(baselines["bag_of_words"]["accuracy"])
            labels = f"{number or len(prepared.train.labels):,} labels"
            yield row(", ".join([*overrides, labels]), found, float(np.mean(words)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[0], help="labelled texts to learn from; 0: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--change", action="append", default=[], help="KEY=VALUE, measured besides the file as it is")
    given = parser.parse_args()

    with ConsoleProgress(Console(stderr=True)) as progress:
        for line in measure(given.config, given.data, given.labels, given.seeds, given.change, progress):
            print(line, flush=True)


if __name__ == "__main__":
    main()
