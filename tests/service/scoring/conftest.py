"""Scoring runs in this process, on a tiny bundle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.local import open_for_scoring
from service.scoring.columns import Added
from service.scoring.forward import Scorer
from service.scoring.run import Job, score
from service.scoring.tables import table_at
from service.settings import Settings

Score = Callable[..., tuple[int, int]]


@pytest.fixture(scope="session")
def scorer(models_dir: Path) -> Scorer:
    return open_for_scoring(Settings(models_dir=models_dir, token_buckets=(16, 64), max_batch_tokens=512))


@pytest.fixture
def score_file(scorer: Scorer) -> Score:
    """`score_file(source, to, **options)`: rows and errors."""

    def score_file(source: Path | str, to: Path | str, **options: Any) -> tuple[int, int]:
        columns = {name: options.pop(name) for name in ("tokens", "explain", "prefix") if name in options}
        kind = options.pop("stream", "jsonl")
        job = {"column": "text", "window_rows": 4, **options}
        added = Added(scorer.bundle.card.labels, **columns)
        tables = table_at(str(source), kind), table_at(str(to), kind)
        return score(Job(*tables, added=added, **job), scorer)

    return score_file
