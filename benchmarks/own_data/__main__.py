"""Measure `train auto` on other people's tables, beside the majority, bags of words and spaCy.

    .venv/bin/python -m benchmarks.own_data --data FOLDER

FOLDER, by default that of the variable HEED_TABLES, holds emotion.csv (columns tweet, emotion), waimai.csv (review,
label), spam_latin1.csv (v2, v1) and aclImdb_v1.tar.gz, from which two more are made: the stars of 5,000 reviews, and
5,000 reviews of which 5% are negative. Every seed splits a table anew: four fifths to train on, one to test on. Prints
macro-F1 and seconds, means over the seeds, and exits with 1 if `auto` misses its target: the best rival less 0.01, and
for the rare label of the imbalanced table the F1 of the best bag of words, within three minutes. A stopped measurement
resumes.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from benchmarks.own_data import rivals
from benchmarks.own_data.tables import TABLES, split, test_of
from benchmarks.records import Records
from training.data.corpus import Corpus

SEEDS = (201, 202, 203)
CONTENDERS = ("auto", "majority", "words", "characters", "spacy")
BAGS = ("words", "characters")
ALLOWANCE = 0.01
MOST_SECONDS = 180


class _Silent:
    def say(self, message: str) -> None:
        """Ignore messages."""

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        """Ignore steps."""


def auto(corpus: Corpus, seed: int) -> np.ndarray:
    """Predict as the bundle that `train auto` makes, int[test texts]."""
    from models.bundle.store import load_bundle
    from training.auto import choose
    from training.batches import encode_texts, for_prediction, predict_logits
    from training.run import train

    config, _ = choose(corpus, [f"seed={seed}"])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "auto"
        train(config, corpus, out, work=Path(folder) / "work", resume=False, progress=_Silent())
        bundle = load_bundle(out)
    texts = encode_texts(bundle.tokenizer, test_of(corpus).texts, test_of(corpus).labels, bundle.card.max_tokens)
    predicted: np.ndarray = predict_logits(for_prediction(bundle.model), texts.ids).argmax(axis=1)
    return predicted


def measure(contender: str, table: str, corpus: Corpus, seed: int, out: Path) -> dict[str, Any]:
    """Return macro-F1, the F1 of the rarest label and the seconds of one contender on one split."""
    started = time.monotonic()
    if contender == "spacy":
        predicted = rivals.spacy(corpus, seed, TABLES[table].language, out / "spacy")
    else:
        predicted = {"auto": auto, "majority": rivals.majority, "words": rivals.words, "characters": rivals.characters}[
            contender
        ](corpus, seed)
    rarest = int(np.bincount(corpus.train.labels).argmin())
    return {
        "macro_f1": rivals.macro_f1(test_of(corpus).labels, predicted),
        "rare_f1": float(f1_score(test_of(corpus).labels == rarest, predicted == rarest, zero_division=0)),
        "seconds": time.monotonic() - started,
    }


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("HEED_TABLES"))
    parser.add_argument("--out", type=Path, default=Path("runs/own_data"))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    given = parser.parse_args()
    if given.data is None:
        parser.error("expected the folder of the tables: --data FOLDER, or the variable HEED_TABLES.")
    records = Records(given.out)
    missed = False
    print("| table | " + " | ".join(given.contenders) + " | F1 of the rarest label | seconds | met |")
    print("| --- |" + " ---: |" * (len(given.contenders) + 2) + " --- |")
    for table in given.tables:
        corpus = TABLES[table].load(given.data)
        figures: dict[str, dict[str, float]] = {}
        for contender in given.contenders:
            found = []
            for seed in given.seeds:
                name, parts = f"{table}-{contender}-{seed}", split(corpus, seed)
                one = records.read(name, parts.fingerprint()) or measure(contender, table, parts, seed, given.out)
                records.write(name, parts.fingerprint(), one)
                found.append(one)
            figures[contender] = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
        met = judge(table, figures)
        missed |= not met
        print(_row(table, figures, met), flush=True)
    return int(missed)


def judge(table: str, figures: dict[str, dict[str, float]]) -> bool:
    """Return whether `auto` meets its target on a table, beside the rivals that were measured."""
    if "auto" not in figures:
        return True
    auto_, others = figures["auto"], {name: each for name, each in figures.items() if name != "auto"}
    good = all(auto_["macro_f1"] >= each["macro_f1"] - ALLOWANCE for each in others.values())
    if table == "imbalanced":
        good &= all(auto_["rare_f1"] >= figures[name]["rare_f1"] for name in BAGS if name in figures)
    return good and auto_["seconds"] <= MOST_SECONDS


def _row(table: str, figures: dict[str, dict[str, float]], met: bool) -> str:
    scores = " | ".join(f"{each['macro_f1']:.3f}" for each in figures.values())
    rare = ", ".join(f"{each['rare_f1']:.2f}" for each in figures.values())
    seconds = ", ".join(f"{each['seconds']:.0f}" for each in figures.values())
    return f"| {table}: {TABLES[table].what} | {scores} | {rare} | {seconds} | {'yes' if met else 'no'} |"


if __name__ == "__main__":
    sys.exit(main())
