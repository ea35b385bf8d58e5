"""The reviews, peers, durations and records that every part of the benchmark uses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import Records

REVIEWS = 2048
_SEED = 20


@dataclass(frozen=True)
class Workbench:
    """Settings of a benchmark run.

    Attributes:
        data: the IMDB archive or folder.
        out: folder of records and environments.
        peers: names of the peers to compare with.
        quick: measure for a quarter of the time.
        refresh: ignore records.
    """

    data: Path
    out: Path
    peers: tuple[str, ...] = ()
    quick: bool = False
    refresh: bool = False

    @property
    def environments(self) -> Path:
        """Return the folder of virtual environments."""
        return self.out / "environments"

    @cached_property
    def texts(self) -> list[str]:
        """Return `REVIEWS` test reviews in random order, always the same ones."""
        records = Records(self.out / "records")
        subject = {"data": self.data.resolve().name, "bytes": self.data.stat().st_size, "count": REVIEWS}
        kept = records.read("texts", subject)
        if kept is None:
            from training.data.load import load_test  # reads the whole archive, which takes a while

            texts = load_test(self.data).texts
            chosen = np.random.default_rng(_SEED).permutation(len(texts))[:REVIEWS]
            kept = {"texts": [texts[place] for place in chosen.tolist()]}
            records.write("texts", subject, kept)
        return list(kept["texts"])

    def seconds(self, seconds: float) -> float:
        """Return how long to measure what takes `seconds` in a full run."""
        return max(2.0, seconds / 4) if self.quick else seconds

    def kept(self, name: str, subject: Any, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the recorded figures called `name`, or measure and record them."""
        records = Records(self.out / "records")
        of = {"subject": subject, "quick": self.quick}
        figures = None if self.refresh else records.read(name, of)
        if figures is None:
            figures = measure()
            records.write(name, of, figures)
        return figures
