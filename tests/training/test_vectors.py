import gzip
from pathlib import Path

import numpy as np
import pytest

from models.bundle.store import load_bundle
from models.tokenizer import FIRST_WORD_ID, PAD_ID, UNKNOWN_ID, Tokenizer
from tests.training.tiny_run import TINY, RecordedProgress
from training import DataError
from training.config import VectorsConfig
from training.data.imdb import load_imdb
from training.run import train
from training.vectors import coverage_of, read_vectors

TOKENIZER = Tokenizer(["film", "london", "the", "good", "."])
GLOVE = "the 1 2 3\n. . . 7 7 7\nxyzzy 0 0 0\nfilm -1 -2.5 1e-3\nLondon 4 5 6\nThe 9 9 9\n"


def vectors_of(file: Path) -> dict[str, list[float]]:
    table, found = read_vectors(file, TOKENIZER, dim=3, seed=1)
    assert table.dtype == np.float32
    assert (table[PAD_ID] == 0).all()
    assert not found[[PAD_ID, UNKNOWN_ID]].any()
    assert np.isfinite(table).all()
    assert len(np.unique(table, axis=0)) == len(table)
    return {
        word: table[FIRST_WORD_ID + place].tolist()
        for place, word in enumerate(TOKENIZER.words)
        if found[FIRST_WORD_ID + place]
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.txt", GLOVE),
        ("word2vec.txt", f"6 3\n{GLOVE}"),
        ("fasttext.vec", "6 3\n" + GLOVE.replace("\n", " \n")),
        ("windows.vec", GLOVE.replace("\n", "\r\n")),
        ("capitals_first.txt", "The 9 9 9\n" + GLOVE),
        ("glove.txt.gz", GLOVE),
    ],
)
def test_vectors_are_read_as_they_are_handed_around(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    expected = {"the": [1, 2, 3], "film": [-1, -2.5, pytest.approx(1e-3)], "london": [4, 5, 6]}
    assert vectors_of(file) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("the 1 2 3 4\n", r"line 1: expected a word and 3 numbers.* Received 4. .*--set model.embedding_dim=4"),
        ("1 4\nthe 1 2 3 4\n", r"line 2: expected a word and 3 numbers"),
        ("the 1 2 3\nx 1 1 1\nfilm 1 2\n", r"line 3: expected a word and 3 finite numbers. Received '1 2'"),
        ("the 1 2 3\nfilm 1 2 x\n", "line 2: expected a word and 3 finite"),
        ("the 1 2 nan\n", "line 1: expected a word and 3 finite"),
        ("nothing 1 2 3\n", "expected vectors of words in the training texts"),
        ("", "expected vectors of words in the training texts"),
        (None, "expected a readable file of word vectors"),
    ],
)
def test_what_are_no_such_vectors_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "v.txt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataError, match=message):
        read_vectors(file, TOKENIZER, dim=3, seed=1)


def test_a_run_starts_from_pretrained_vectors_and_states_their_coverage(imdb_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    file.write_text("film 1 0 0 0 0 0 0 0\nthe 0 1 0 0 0 0 0 0\n")
    frozen = TINY.phases[0].model_copy(update={"epochs": 1})
    config = TINY.model_copy(update={"vectors": VectorsConfig(file=str(file)), "phases": (frozen,)})
    progress = RecordedProgress()
    corpus = load_imdb(imdb_folder)
    train(config, corpus, tmp_path / "b", work=tmp_path / "w", resume=False, progress=progress)
    bundle = load_bundle(tmp_path / "b")
    coverage = bundle.card.training["vectors"]
    assert (coverage["file"], coverage["words"], coverage["of_words"]) == ("v.txt", 2, len(bundle.tokenizer.words))
    assert f"vectors of 2 of {coverage['of_words']} words of the vocabulary" in "".join(progress.lines)
    [table] = bundle.model.get_layer("embedding").get_weights()
    assert table[FIRST_WORD_ID + bundle.tokenizer.words.index("film")].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_coverage_is_of_words_and_of_tokens() -> None:
    found = np.array([False, False, True, False])
    coverage = coverage_of(Path("a/v.txt"), found, [np.array([2, 2, 3], np.int32), np.array([1], np.int32)])
    assert coverage == {"file": "v.txt", "words": 1, "of_words": 2, "tokens": 0.5}
