"""Train every mechanism on IMDB with one protocol, serve each, and update docs/mechanisms.md.

    make zoo DATA=aclImdb_v1.tar.gz

A stopped comparison resumes: finished runs are kept under --out, and an unfinished run continues from its checkpoint.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.agreement import first_of_both_labels
from benchmarks.marked_page import fill
from benchmarks.records import Records
from benchmarks.zoo import page, pictures
from benchmarks.zoo.rows import BASELINE, ROWS
from benchmarks.zoo.runs import Outcome, Run, train_all
from benchmarks.zoo.serving import serve_row
from models.bundle.store import load_bundle, read_card
from training.data.corpus import LabelledTexts
from training.data.load import load_test

DOCS = Path(__file__).parents[2] / "docs"
SERVED_TEXTS = 512


def main() -> None:
    """Train, serve, update the page."""
    given = _arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    runs = [Run(row, seed) for seed in given.seeds for row in given.rows]
    outcomes = _train(runs, given)
    failed = [outcome.run.name for outcome in outcomes if outcome.figures is None]
    figures = {
        row: [one.figures for one in sorted(outcomes) if one.run.row == row and one.figures is not None]
        for row in given.rows
    }
    figures = {row: of_row for row, of_row in figures.items() if of_row}
    if given.train_only:
        print(page.table(figures, {}))
    else:
        _write_page(figures, given)
    if failed:
        raise SystemExit(f"Failed runs, which the same command repeats: {', '.join(failed)}.")


def _write_page(figures: dict[str, list[dict[str, Any]]], given: argparse.Namespace) -> None:
    test = load_test(given.data)
    first_runs = [Run(row, given.seeds[0]) for row in figures]
    served = _serve(first_runs, test, given)
    _draw(first_runs, test, given)
    parts = {"table": page.table(figures, served), "rules": page.rules(), "trust": page.trust(figures)}
    fill(DOCS / "mechanisms.md", parts)
    print(f"Wrote {DOCS / 'mechanisms.md'}.", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the IMDB archive or folder, or your own table")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of the runs")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW", help="rows to train")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs in parallel; 1 on a GPU")
    parser.add_argument("--epochs", type=int, help="epochs of each phase, at most")
    parser.add_argument("--train-only", action="store_true", help="only train and print the table")
    return parser.parse_args()


def _train(runs: list[Run], given: argparse.Namespace) -> list[Outcome]:
    started, outcomes = time.monotonic(), []
    for outcome in train_all(runs, given.data, given.out, workers=given.workers, epochs=given.epochs):
        outcomes.append(outcome)
        minutes = (time.monotonic() - started) / 60
        if outcome.figures is None:
            what = f"FAILED: {outcome.failure}"
        else:
            seconds = outcome.figures["fit_processor_seconds"]
            what = f"accuracy {outcome.figures['accuracy']:.4f}, {seconds:.0f} s of processor time"
        print(f"[{minutes:5.1f} min] {len(outcomes)} of {len(runs)}  {outcome.run.name}: {what}", flush=True)
    return outcomes


def _serve(runs: list[Run], test: LabelledTexts, given: argparse.Namespace) -> dict[str, dict[str, float]]:
    records, served = Records(given.out / "served"), {}
    texts = test.take(first_of_both_labels(test.labels, SERVED_TEXTS)).texts
    for run in runs:
        subject = read_card(given.out / "bundles" / run.name).version
        figures = records.read(run.name, subject)
        if figures is None:
            figures = serve_row(given.out / "bundles" / run.name, texts)
            records.write(run.name, subject, figures)
        served[run.row] = figures
        error = figures["largest_error_of_a_sum"]
        print(f"{run.name}: {figures['reviews_a_second']:.0f} reviews/s served, weights sum to 1 within {error:.0e}")
    return served


def _draw(runs: list[Run], test: LabelledTexts, given: argparse.Namespace) -> None:
    bundles = {run.row: load_bundle(given.out / "bundles" / run.name) for run in runs}
    first = bundles.get(BASELINE) or next(iter(bundles.values()))
    folder = DOCS / "mechanisms"
    folder.mkdir(exist_ok=True)
    for number, position in enumerate(pictures.choose_reviews(first, test), start=1):
        text, truth = test.texts[position], first.card.labels[test.labels[position]]
        seen = [pictures.see(bundle, row, text) for row, bundle in bundles.items()]
        pictures.draw(first, text, truth, seen, folder / f"review-{number}.png")


if __name__ == "__main__":
    main()
