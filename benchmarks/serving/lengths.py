"""What long texts do to the latency of short ones: 20-token requests alone, and in a mix with 1,000-token ones."""

from typing import Any

import numpy as np

from benchmarks.serving.contenders import heed
from benchmarks.serving.load.arrivals import poisson
from benchmarks.serving.load.generator import Outcome, closed_loop, open_loop
from benchmarks.serving.load.samples import Samples, percentile
from benchmarks.serving.services import BUNDLE
from benchmarks.serving.sessions import Session
from benchmarks.serving.workbench import Workbench
from models.tokenizer import Tokenizer

SHORT, LONG = 20, 1000
EVERY = 10
"""One of so many requests is a long one."""
LOAD = 0.5
"""Share of the mix's capacity that arrives."""
TURNS = 3
"""By turns alone and in the mix, in open loop; of these the one with the middle ratio counts."""
_TEXTS = 99


def cut_texts(tokenizer: Tokenizer, reviews: list[str], tokens: int, count: int) -> list[str]:
    """Texts of exactly `tokens` tokens each: reviews one after the other, cut behind a token."""
    texts, text = [], ""
    for review in reviews:
        text = f"{text} {review}" if text else review
        encoding = tokenizer.encode(text, tokens)
        if encoding.tokens_total >= tokens:
            texts.append(text[: int(encoding.ends[tokens - 1])])
            text = ""
        if len(texts) == count:
            return texts
    raise ValueError(f"Expected reviews enough for {count} texts of {tokens} tokens. They make {len(texts)}.")


def run(bench: Workbench) -> dict[str, Any]:
    """Figures of the short requests, alone and mixed, in open and in closed loop."""
    contender = heed(bench.environments)
    told = bench.kept("lengths", contender.subject, lambda: _measure(bench))
    for loop in ("open", "closed"):
        p99 = told[loop]
        print(
            f"{SHORT}-token requests, {loop} loop: p99 {p99['alone']:.1f} ms alone, {p99['mixed']:.1f} ms in the mix",
            flush=True,
        )
    return told


def _measure(bench: Workbench) -> dict[str, Any]:
    contender = heed(bench.environments)
    tokenizer = Tokenizer.from_json((BUNDLE / "tokenizer.json").read_text(encoding="utf-8"))
    short = cut_texts(tokenizer, bench.texts, SHORT, _TEXTS)
    long = cut_texts(tokenizer, bench.texts, LONG, _TEXTS // (EVERY - 1) + 1)
    seconds = bench.seconds(10)
    with contender.start() as running:
        session = Session(contender, running, bench.texts)
        session.warm_up(bench.seconds(4))
        target = session.target
        alone, mixed = target.requests(short), target.requests(mix(short, long))
        busy_mixed = closed_loop(target, mixed, connections=64, seconds=bench.seconds(8))
        busy_alone = closed_loop(target, alone, connections=64, seconds=bench.seconds(8))
        capacity = len(busy_mixed.samples.accepted.status) / busy_mixed.seconds
        rate = LOAD * capacity
        turns = []
        for turn in range(TURNS):
            in_mix = open_loop(target, mixed, poisson(rate, seconds, seed=11 + turn), seconds=seconds)
            due = poisson(rate * (1 - 1 / EVERY), seconds, seed=11 + turn)
            by_themselves = open_loop(target, alone, due, seconds=seconds)
            turns.append({"alone": _p99(by_themselves), "mixed": _p99(in_mix, of_mix=True)})
    turns.sort(key=lambda turn: turn["mixed"] / turn["alone"])
    told: dict[str, Any] = {
        "capacity_of_the_mix": capacity,
        "rate": rate,
        "turns": turns,
        "open": turns[TURNS // 2],
        "closed": {"alone": _p99(busy_alone), "mixed": _p99(busy_mixed, of_mix=True)},
    }
    return told


def mix(short: list[str], long: list[str]) -> list[str]:
    """Every tenth text a long one, the first of all too."""
    texts: list[str] = []
    for number, text in enumerate(short):
        if number % (EVERY - 1) == 0:
            texts.append(long[number // (EVERY - 1) % len(long)])
        texts.append(text)
    return texts


def _p99(outcome: Outcome, *, of_mix: bool = False) -> float:
    """Milliseconds, of the short requests."""
    samples: Samples = outcome.samples.accepted
    if of_mix:
        samples = samples.where(np.array(samples.request) % EVERY != 0)
    return percentile(1000 * samples.latencies, 99)
