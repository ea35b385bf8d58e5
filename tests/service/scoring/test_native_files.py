"""Files on the engine in C, with a real bundle: threads share each window."""

import csv
import gc
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.native import unlocked_library
from models.tables.columns import Chosen
from models.tables.table import open_reader, table_at
from models.tokenizer import FIRST_WORD_ID
from service.inference.engine import Result
from service.inference.isolation import NOT_FINITE
from service.inference.native_engine import NativeEngine
from service.local import open_for_scoring
from service.predictions import describe_prediction
from service.scoring.columns import Added
from service.scoring.errors import ScoreError
from service.scoring.native_files import NativeFiles
from service.scoring.run import Job, score
from service.settings import Settings
from tests.service.poison import FIRST_GOOD, POISON, poisoned_engine
from tests.tiny_bundle import MAX_TOKENS


@pytest.fixture(scope="module")
def engine(native_folder: Path) -> NativeEngine:
    return poisoned_engine(native_folder, token_buckets=(MAX_TOKENS,), threads=2)


def score_texts(engine: NativeEngine, texts: Sequence[str], folder: Path, **added: bool) -> list[dict[str, str]]:
    """The rows that a file of these texts becomes."""
    with (folder / "in.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["text"], *([text] for text in texts)])
    source, to = (table_at(str(folder / name)) for name in ("in.csv", "out.csv"))
    reader = open_reader(source, Chosen("text", "--column"), window_rows=32, to=to)
    rows, _ = score(Job(reader, to, Added(engine.bundle.card.labels, **added)), NativeFiles(engine))
    with (folder / "out.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert rows == len(found) == len(texts)
    return found


def test_it_is_what_scores_files_where_the_engine_is_in_c(native_folder: Path) -> None:
    settings = Settings(models_dir=native_folder.parent, engine_threads=3)
    library = unlocked_library()
    assert library is not None
    files = open_for_scoring(settings, "recurrent")
    assert isinstance(files, NativeFiles)
    assert (files.threads, files.identity) == (3, ["native", library.heed_lanes()])
    assert gc.get_freeze_count() > 1000  # no pause to look through what stays
    gc.unfreeze()


def test_every_row_gets_what_its_text_gets_alone(engine: NativeEngine, tmp_path: Path) -> None:
    bundle = engine.bundle
    good = bundle.tokenizer.words[FIRST_GOOD - FIRST_WORD_ID :]
    texts = [" ".join(random.Random(number).choices(good, k=1 + 7 * number % 80)) for number in range(90)]
    for row, text in zip(score_texts(engine, texts, tmp_path, explain=True), texts, strict=True):
        encoding = bundle.tokenizer.encode(text, MAX_TOKENS)
        alone = describe_prediction(bundle, text, encoding, *engine.run([encoding.ids]))
        assert (row["text"], row["label"], row["error"]) == (text, alone["label"], "")
        assert {label: float(row[f"score_{label}"]) for label in bundle.card.labels} == alone["scores"]
        heaviest = max(alone["tokens"], key=lambda token: token["weight"])
        assert row["heaviest_tokens"].split()[0] == heaviest["text"]
        assert float(row["heaviest_weights"].split()[0]) == heaviest["weight"]


def test_a_large_window_is_done_in_parts(engine: NativeEngine) -> None:
    ids = [np.full(1 + place % 3, FIRST_GOOD + place % 5, np.int32) for place in range(2500)]
    passes = NativeFiles(engine).passes(ids)
    assert len(passes.calls) == 3 * engine.threads
    for call in passes.calls:
        call()
    for text, outcome in zip(ids, passes.outcomes(), strict=True):
        assert isinstance(outcome, Result)
        np.testing.assert_array_equal(outcome.logits, engine.run([text])[0].logits)


def test_a_bad_text_fails_alone_and_a_row_without_a_word_beside_it(engine: NativeEngine, tmp_path: Path) -> None:
    poison = engine.bundle.tokenizer.words[POISON - FIRST_WORD_ID]
    errors = {row["text"]: row["error"] for row in score_texts(engine, ["good", poison, "  ", "fine"], tmp_path)}
    assert errors["good"] == errors["fine"] == ""
    assert errors[poison] == NOT_FINITE
    assert "Expected a text" in errors["  "]


def test_a_window_of_bad_texts_alone_does_not_stop_a_run(engine: NativeEngine, tmp_path: Path) -> None:
    poison = engine.bundle.tokenizer.words[POISON - FIRST_WORD_ID]
    rows = score_texts(engine, [*[poison] * 32, *[" "] * 32, "good"], tmp_path)
    assert [bool(row["error"]) for row in rows] == [True] * 64 + [False]


def test_an_engine_that_fails_on_any_text_ends_the_run(
    engine: NativeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its probe fails, too."""
    poison = engine.bundle.tokenizer.words[POISON - FIRST_WORD_ID]
    monkeypatch.setattr("service.inference.isolation._PROBE", np.array([POISON], np.int32))
    with pytest.raises(ScoreError, match="surely good"):
        score_texts(engine, [poison], tmp_path)
