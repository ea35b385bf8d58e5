"""Measure scoring of files: speed beside the engine alone, memory, and resuming after kills.

    .venv/bin/python -m benchmarks.score --data aclImdb_v1.tar.gz --parts speed

speed: score the 25,000 test reviews as a CSV file, and run the engine alone on the same texts, tokenized and sorted by
length beforehand, with the same number of threads; alternately, in one process.

memory: resident memory of `python -m service score` on a file of --rows short texts, cut from the reviews.

kills: score such a file without interruption, and once more killed ten times at random and resumed.

Exits with 1 if a target is missed: the share in benchmarks/targets.py, 2% more memory in the last half, or a different
output.
"""

import argparse
import csv
import filecmp
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.targets import judge
from models.tables.columns import Chosen
from models.tables.table import open_reader, table_at
from service.inference.loading import prepare_process
from service.local import open_for_scoring
from service.scoring.columns import Added
from service.scoring.forward import Scorer
from service.scoring.run import Job, score
from service.settings import Settings
from training.data.load import load_test

PARTS = ("speed", "memory", "kills")
MOST_GROWTH = 0.02
ENGINE_TEXTS = 64
"""Texts of each call of the engine alone."""
KILLS = 10
KILL_ROWS = 300_000
SHORT_WORDS = (4, 20)
SAMPLE_SECONDS = 0.5


def main() -> None:
    """Measure the parts and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of the memory part")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the speed part")
    parser.add_argument("--folder", type=Path, help="folder for temporary files")
    given = parser.parse_args()
    reviews = load_test(given.data).texts
    good = True
    with TemporaryDirectory(dir=given.folder) as scratch:
        folder = Path(scratch)
        if "speed" in given.parts:
            good &= measure_speed(reviews, folder, given.rounds)
        if "memory" in given.parts:
            good &= measure_memory(write_csv(folder / "many.csv", short_texts(reviews, given.rows)), given.rows)
        if "kills" in given.parts:
            good &= kill_and_compare(write_csv(folder / "killed.csv", short_texts(reviews, KILL_ROWS)))
    raise SystemExit(0 if good else 1)


def write_csv(path: Path, texts: Iterator[str] | Sequence[str]) -> Path:
    """Write a file with the columns `id` and `text`."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("id", "text"))
        writer.writerows(enumerate(texts))
    return path


def short_texts(reviews: Sequence[str], count: int) -> Iterator[str]:
    """Yield short runs of words from the reviews."""
    generator = random.Random(1)
    words = [review.split() for review in reviews]
    for _ in range(count):
        chosen = generator.choice(words)
        length = generator.randint(*SHORT_WORDS)
        start = generator.randrange(max(1, len(chosen) - length))
        yield " ".join(chosen[start : start + length])


def measure_speed(reviews: Sequence[str], folder: Path, rounds: int) -> bool:
    """Measure rows a second of a whole run and of the engine alone."""
    shuffled = list(reviews)
    random.Random(1).shuffle(shuffled)
    source = write_csv(folder / "reviews.csv", shuffled)
    prepare_process(Settings())
    scorer = open_for_scoring(Settings())
    card, tokenizer = scorer.bundle.card, scorer.bundle.tokenizer
    ids = [tokenizer.encode(text, card.max_tokens).ids for text in shuffled]
    engine_alone(scorer, ids)  # warms up
    alone, whole = [], []
    for number in range(1, rounds + 1):
        alone.append(len(ids) / engine_alone(scorer, ids))
        started = time.perf_counter()
        to = table_at(str(folder / "scored.csv"))
        reader = open_reader(table_at(str(source)), Chosen("text", "--column"), to=to)
        score(Job(reader, to, Added(card.labels)), scorer)
        whole.append(len(ids) / (time.perf_counter() - started))
        (folder / "scored.csv").unlink()
        print(f"round {number}: engine alone {alone[-1]:,.0f} rows/s, score {whole[-1]:,.0f} rows/s", flush=True)
    share = statistics.median(one / other for one, other in zip(whole, alone, strict=True))
    verdict = judge("score", 100 * share)
    print(verdict)
    return verdict.met


def engine_alone(scorer: Scorer, ids: Sequence[np.ndarray]) -> float:
    """Return the seconds for all texts, sorted by length, on as many threads as `score` uses."""
    ordered = sorted(ids, key=len, reverse=True)
    calls = [ordered[start : start + ENGINE_TEXTS] for start in range(0, len(ordered), ENGINE_TEXTS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(scorer.threads) as pool:
        for _ in pool.map(scorer.engine.run, calls):
            pass
    return time.perf_counter() - started


def score_command(source: Path, place: Path, *options: str) -> list[str]:
    """Return the command line of `python -m service score`."""
    return [sys.executable, "-m", "service", "score", str(source), "-o", str(place), *options]


def measure_memory(source: Path, rows: int) -> bool:
    """Measure resident memory over time."""
    started = time.perf_counter()
    samples: list[int] = []
    with subprocess.Popen(score_command(source, source.with_name("scored.csv"))) as process:
        while process.poll() is None:
            samples.append(resident_bytes(process.pid))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"score ended with status {process.returncode}.")
    tenths = [statistics.mean(part) for part in np.array_split(np.array([each for each in samples if each]), 10)]
    growth = tenths[-1] / tenths[5] - 1
    print(f"{rows:,} rows, {source.stat().st_size / 1e6:,.0f} MB, in {time.perf_counter() - started:.0f} s")
    print("resident memory by tenths of the run, MB:", ", ".join(f"{each / 1e6:,.0f}" for each in tenths))
    print(f"growth in the last half: {growth:.1%} (target: at most {MOST_GROWTH:.0%})")
    return growth <= MOST_GROWTH


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def kill_and_compare(source: Path) -> bool:
    """Return whether the output after ten kills equals that of an uninterrupted run."""
    whole, place = source.with_name("whole.csv"), source.with_name("broken.csv")
    journal = place.with_name(f"{place.name}.journal")
    started = time.perf_counter()
    subprocess.run(score_command(source, whole), check=True)
    seconds = time.perf_counter() - started
    generator = random.Random()
    killed = 0
    while killed < KILLS:
        with subprocess.Popen(score_command(source, place, "--resume"), stderr=subprocess.DEVNULL) as process:
            before = journal.stat().st_size if journal.exists() else 0
            while process.poll() is None and (journal.stat().st_size if journal.exists() else 0) <= before:
                time.sleep(0.01)
            time.sleep(generator.uniform(0, seconds / (2 * KILLS)))
            process.send_signal(signal.SIGKILL)
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"score ended with status {process.returncode} after {killed} of {KILLS} kills.")
        killed += 1
    subprocess.run(score_command(source, place, "--resume"), check=True)
    same = filecmp.cmp(whole, place, shallow=False)
    print(f"killed and resumed {killed} times: the output is {'the same' if same else 'DIFFERENT'}")
    return same


if __name__ == "__main__":
    main()
