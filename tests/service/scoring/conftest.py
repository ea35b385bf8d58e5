"""Scoring runs in this process, on a tiny bundle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.tables.columns import Chosen
from models.tables.table import Spelling, open_reader, table_at
from service.local import open_for_scoring
from service.scoring.columns import Added
from service.scoring.forward import Scorer
from service.scoring.run import Job, score
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
        spelling = Spelling(
            **{name: options.pop(name) for name in ("encoding", "delimiter", "quotes") if name in options}
        )
        chosen = Chosen(options.pop("column", "text"), "--column")
        window_rows = options.pop("window_rows", 4)
        table = table_at(str(to), kind)
        reader = open_reader(table_at(str(source), kind), chosen, spelling=spelling, window_rows=window_rows, to=table)
        return score(Job(reader, table, Added(scorer.bundle.card.labels, **columns), **options), scorer)

    return score_file
