"""Measure seconds per epoch and time to 0.89 test accuracy on IMDB: our training, a plain Keras script, and PyTorch.

    .venv/bin/python -m benchmarks.train --data aclImdb_v1.tar.gz
    .venv/bin/python -m benchmarks.train --data aclImdb_v1.tar.gz --parts default keras-bilstm --seeds 1 2 3

Each part trains in its own process until it reaches the goal on all 25,000 test reviews, or for --epochs epochs.
Measuring accuracy stops the clock. Records under --out let a stopped comparison resume. PyTorch comes from .torch,
which `make test-torch` installs. Run nothing else on the machine meanwhile.

Exits with 1 if plain Keras takes less than three times as long as our fastest.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.records import Records
from training.data.corpus import Corpus, LabelledTexts
from training.data.load import load_corpus, load_test

ROOT = Path(__file__).parents[1]
LEAST_TIMES = 3.0


class Part(NamedTuple):
    """A classifier and who trains it."""

    what: str
    trainer: str  # "ours", "keras" or "torch"
    encoder: str

    @property
    def peer(self) -> str:
        """Return the part to compare with."""
        return f"keras-{self.encoder}"


PARTS = {
    "default": Part("ours, `default.toml`", "ours", "bilstm"),
    "quick_bilstm": Part("ours, `quick_bilstm.toml`", "ours", "bilstm"),
    "keras-bilstm": Part("plain Keras", "keras", "bilstm"),
    "torch-bilstm": Part("PyTorch", "torch", "bilstm"),
    "quick": Part("ours, `quick.toml`", "ours", "convolution"),
    "keras-convolution": Part("plain Keras", "keras", "convolution"),
    "torch-convolution": Part("PyTorch", "torch", "convolution"),
}

_HEADINGS = (
    "",
    "encoder",
    "s an epoch",
    "epochs to 0.89",
    "training, s",
    "word vectors, s",
    "tokenizing, s",
    "in all, s",
    "processor s",
    "accuracy then",
    "time of plain Keras over this",
)


def main() -> None:
    """Train parts without a record, and print the table."""
    given = _arguments()
    corpus = load_corpus(given.data)
    records, fingerprint = Records(given.out), corpus.fingerprint()
    if given.alone:
        name, seed = given.parts[0], given.seeds[0]
        figures = _train(name, corpus, load_test(given.data), seed, given)
        records.write(f"{name}-{seed}", _subject(name, seed, given, fingerprint), figures)
        return
    del corpus
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in given.seeds:
        for name in given.parts:
            subject = _subject(name, seed, given, fingerprint)
            if records.read(f"{name}-{seed}", subject) is None:
                _train_alone(name, seed, given)
            kept = records.read(f"{name}-{seed}", subject)
            if kept is not None:
                found.setdefault(name, []).append(kept)
    print(table(found))
    ours = [times_of(name, found) for name in found if PARTS[name].trainer == "ours"]
    most = max((times for times in ours if times is not None), default=None)
    if most is not None:
        print(f"plain Keras takes {most:.1f} times as long as our fastest (target: at least {LEAST_TIMES:.0f})")
    raise SystemExit(most is not None and most < LEAST_TIMES)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the IMDB archive or folder")
    parser.add_argument("--out", type=Path, default=Path("runs/train"), help="folder of records")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the scripts, at most")
    parser.add_argument("--batch-size", type=int, default=64, help="batch size of the scripts")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _subject(name: str, seed: int, given: argparse.Namespace, fingerprint: str) -> dict[str, Any]:
    """Return what the figures depend on."""
    subject: dict[str, Any] = {"part": name, "seed": seed, "data": fingerprint}
    if PARTS[name].trainer == "ours":
        from benchmarks.trainers.ours import CONFIGS
        from training.config import read_config

        return subject | {"config": read_config(CONFIGS / f"{name}.toml").model_dump(mode="json")}
    return subject | {"epochs": given.epochs, "batch_size": given.batch_size}


def _train_alone(name: str, seed: int, given: argparse.Namespace) -> None:
    environment = dict(os.environ)
    if PARTS[name].trainer == "torch":
        if not (ROOT / ".torch").is_dir():
            print(f"{name}: skipped, PyTorch is not in .torch; run `make test-torch` first.", file=sys.stderr)
            return
        environment["PYTHONPATH"] = str(ROOT / ".torch")
    print(f"{name}, seed {seed}", flush=True)
    command = [sys.executable, "-m", "benchmarks.train", "--alone", "--parts", name, "--seeds", str(seed)]
    command += ["--data", str(given.data.resolve()), "--out", str(given.out.resolve())]
    command += ["--epochs", str(given.epochs), "--batch-size", str(given.batch_size)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def _train(name: str, corpus: Corpus, test: LabelledTexts, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    part = PARTS[name]
    if part.trainer == "ours":
        from benchmarks.trainers import ours

        return ours.train(name, corpus, test, seed)
    from benchmarks.trainers.reviews import tokenized

    reviews = tokenized(corpus.train, test)
    if part.trainer == "keras":
        from benchmarks.trainers import plain_keras

        figures = plain_keras.train(part.encoder, reviews, seed, batch_size=given.batch_size, epochs=given.epochs)
    else:
        from benchmarks.trainers import plain_torch

        figures = plain_torch.train(part.encoder, reviews, seed, batch_size=given.batch_size, epochs=given.epochs)
    return {
        **figures,
        "tokenizing_seconds": reviews.seconds,
        "tokenizing_processor_seconds": reviews.processor_seconds,
        "vectors_seconds": 0.0,
        "vectors_processor_seconds": 0.0,
    }


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table in Markdown, with means over seeds; "over" marks a part that did not reach the goal."""
    lines = ["| " + " | ".join(_HEADINGS) + " |", "| --- " * len(_HEADINGS) + "|"]
    for name in found:
        lines.append("| " + " | ".join(_cells(name, found)) + " |")
    return "\n".join(lines)


def times_of(name: str, found: dict[str, list[dict[str, Any]]]) -> float | None:
    """Return how many times as long plain Keras takes, at least; None if it was not measured or this part gave up."""
    runs, peer = found[name], found.get(PARTS[name].peer, [])
    if not peer or not all(run["reached"] for run in runs):
        return None
    return _total(peer, "seconds") / _total(runs, "seconds")


def _cells(name: str, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    part, runs, peer = PARTS[name], found[name], found.get(PARTS[name].peer, [])
    more = "" if all(run["reached"] for run in runs) else "over "
    at_least = "" if all(run["reached"] for run in peer) else "at least "
    times = times_of(name, found)
    return [
        part.what,
        part.encoder,
        f"{_mean(runs, 'epoch_seconds'):.0f}",
        f"{more}{_mean(runs, 'epochs'):.2f}",
        f"{more}{_mean(runs, 'seconds'):.0f}",
        f"{_mean(runs, 'vectors_seconds'):.0f}",
        f"{_mean(runs, 'tokenizing_seconds'):.0f}",
        f"{more}{_total(runs, 'seconds'):.0f}",
        f"{more}{_total(runs, 'processor_seconds'):.0f}",
        f"{_mean(runs, 'accuracy'):.4f}",
        "" if times is None else f"{at_least}{times:.1f}",
    ]


def _mean(runs: list[dict[str, Any]], figure: str) -> float:
    return float(sum(run[figure] for run in runs) / len(runs)) if runs else 0.0


def _total(runs: list[dict[str, Any]], figure: str) -> float:
    return sum(_mean(runs, f"{stage}{figure}") for stage in ("tokenizing_", "vectors_", ""))


if __name__ == "__main__":
    main()
