from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_run import TINY, RecordedProgress
from training import DataError
from training.config import CONFIGS, DataConfig, read_config
from training.data.corpus import Corpus, LabelledTexts
from training.data.exclusion import leave_out, read_names
from training.data.imdb import load_imdb
from training.measuring.evaluate import evaluate
from training.prepare import prepare
from training.run import train

OF_IMDB = "train/neg/1_1.txt"


def corpus_of(*names: str) -> Corpus:
    train = LabelledTexts(("one", "two", "three", " ONE"), np.array([0, 0, 1, 1], np.int32))
    return Corpus("made up", ("a", "b"), train, train.take(np.arange(1)), ("One", "four"), names=names)


NAMED = corpus_of("a", "b", "c", "d", "e", "f")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "names.txt"


def test_named_texts_and_their_duplicates_are_left_out(file: Path) -> None:
    file.write_text("\ufeff# those of others\n\n a \nf\n", encoding="utf-8")
    left = leave_out(NAMED, file)
    assert (left.train.texts, left.train.labels.tolist()) == (("two", "three"), [0, 1])
    assert (left.unlabelled, left.names) == ((), ("b", "c"))
    assert left.excluded is not None
    assert left.excluded.facts() == {"file": "names.txt", "train": 2, "unlabelled": 2}
    assert left.fingerprint() != NAMED.fingerprint()
    assert leave_out(left, file) is left
    assert leave_out(NAMED, None) is NAMED


@pytest.mark.parametrize(
    ("corpus", "names", "message"),
    [
        (NAMED, "a\nx\ny\n", "names.txt: expected names of texts in made up. It has no 'x'"),
        (NAMED, None, "expected a readable file with a name on each line"),
        (corpus_of(), f"{OF_IMDB}\na\n", "expected texts with names in made up. Those of a table have none"),
    ],
)
def test_names_that_name_nothing_are_refused(file: Path, corpus: Corpus, names: str | None, message: str) -> None:
    if names is not None:
        file.write_text(names)
    with pytest.raises(DataError, match=message):
        leave_out(corpus, file)


def test_reviews_of_imdb_leave_a_table_alone(file: Path) -> None:
    file.write_text(f"{OF_IMDB}\n")
    table = corpus_of()
    assert leave_out(table, file) is table


def test_reviews_have_the_names_of_their_files(imdb_folder: Path) -> None:
    corpus = load_imdb(imdb_folder)
    texts = (*corpus.train.texts, *corpus.unlabelled)
    assert [(imdb_folder / name).read_text() for name in corpus.names] == list(texts)


def test_nothing_is_learned_from_a_text_that_is_left_out(imdb_folder: Path, tmp_path: Path, file: Path) -> None:
    """It is in no part, and neither the vocabulary nor the card know it."""
    corpus = load_imdb(imdb_folder)
    out = ["train/neg/3_2.txt", "train/pos/5_9.txt", "train/unsup/2_0.txt"]
    file.write_text("\n".join(out))
    secret = {name: f"secret{place} " * 3 for place, name in enumerate(out)}
    texts = [secret.get(name, text) for name, text in zip(corpus.names, texts_of(corpus), strict=True)]
    several = len(corpus.train)
    corpus = Corpus(
        "IMDB",
        corpus.label_names,
        LabelledTexts(tuple(texts[:several]), corpus.train.labels),
        corpus.test,
        (*texts[several:], secret[out[0]].upper()),
        names=(*corpus.names, "train/unsup/99_0.txt"),
    )
    config = TINY.model_copy(update={"data": TINY.data.model_copy(update={"exclude": str(file)})})
    progress = RecordedProgress()
    prepared = prepare(
        config, leave_out(corpus, config.data.exclude_file), vectors_file=tmp_path / "v.npy", progress=progress
    )
    splits = prepared.splits
    for text in (*splits.train.texts, *splits.validation.texts, *splits.unlabelled, *prepared.tokenizer.words):
        assert "secret" not in text.lower()
    assert "left out as named in names.txt: 2 of train, 2 unlabelled" in progress.lines
    quick = {"phases": TINY.phases[:1], "vectors": False, "model": TINY.model | {"encoder": "none"}}
    config = config.model_copy(update=quick)
    card = train(config, corpus, tmp_path / "b", work=tmp_path / "w", resume=False, progress=progress)
    assert card.data["excluded"] == {"file": "names.txt", "train": 2, "unlabelled": 2}
    assert card.training["config"]["data"]["exclude"] == "names.txt"
    assert sum(sum(card.data[part].values()) for part in ("train", "validation")) <= several - 2
    measured = evaluate(tmp_path / "b", corpus)  # the bundle knows what was left out
    assert measured.same_data
    assert measured.metrics["nll"] == pytest.approx(card.metrics["validation"]["nll"], abs=1e-5)
    few = np.arange(10, len(corpus.train))
    assert not evaluate(tmp_path / "b", replace(corpus, train=corpus.train.take(few), names=())).same_data


def texts_of(corpus: Corpus) -> tuple[str, ...]:
    return (*corpus.train.texts, *corpus.unlabelled)


@pytest.mark.parametrize("name", ["default", "ngram", "multi_head"])
def test_the_configurations_of_shipped_bundles_leave_out_reviews_with_counterfactuals(name: str) -> None:
    file = read_config(CONFIGS / f"{name}.toml").data.exclude_file
    assert file == CONFIGS / "excluded_reviews.txt"
    names = read_names(file)
    assert len(names) == len(set(names)) == 733


def test_the_file_is_beside_the_configuration_or_one_of_the_project(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('base = "quick.toml"\n[data]\nexclude = "names.txt"\n')
    (tmp_path / "names.txt").write_text("a\n")
    assert read_config(mine).data.exclude_file == tmp_path / "names.txt"
    inherited = tmp_path / "inherited.toml"
    inherited.write_text('base = "mine.toml"\n')
    assert read_config(inherited).data.exclude_file == tmp_path / "names.txt"
    assert read_config(inherited, ["data.exclude=false"]).data.exclude_file is None
    assert DataConfig(exclude="excluded_reviews.txt").exclude_file == CONFIGS / "excluded_reviews.txt"
