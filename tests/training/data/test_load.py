import gzip
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from models.tables.table import Spelling
from training import DataError
from training.data.corpus import Corpus, LabelledTexts, fingerprint_of
from training.data.imdb import load_imdb
from training.data.load import load_corpus, load_table, load_test
from training.data.splits import split_corpus


def archive(folder: Path, file: Path) -> Path:
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as tar:
        tar.add(folder, arcname="aclImdb")
    return file


def load(path: Path) -> Corpus:
    return load_corpus(path, text_column="text", label_column="label")


def texts(*values: str, label: int = 0) -> LabelledTexts:
    return LabelledTexts(values, np.full(len(values), label, np.int32))


def write_two_parts(folder: Path, bad: str) -> Path:
    """Write a review a label, of which the positive one of the part `bad` is not UTF-8."""
    for part in ("train/neg", "train/pos", "test/neg", "test/pos"):
        (folder / part).mkdir(parents=True)
        (folder / part / "0_1.txt").write_bytes(b"good \xff" if part == f"{bad}/pos" else b"good")
    return folder


class TestImdb:
    def test_archive_and_folder_give_the_same_corpus(self, imdb_folder: Path, tmp_path: Path) -> None:
        from_folder = load(imdb_folder)
        from_archive = load(archive(imdb_folder, tmp_path / "reviews.tar.gz"))
        assert from_folder.fingerprint() == from_archive.fingerprint()
        assert from_folder.unlabelled == from_archive.unlabelled
        assert from_folder.label_names == ("negative", "positive")
        assert (len(from_folder.train), len(from_folder.unlabelled)) == (120, 20)
        assert from_folder.test is None
        test = load_test(imdb_folder)
        assert fingerprint_of(test) == fingerprint_of(load_test(tmp_path / "reviews.tar.gz"))
        assert test.labels.tolist() == [0] * 30 + [1] * 30
        assert from_folder.train.labels.tolist() == [0] * 60 + [1] * 60

    def test_texts_are_byte_for_byte_those_of_the_files(self, imdb_folder: Path) -> None:
        corpus = load_imdb(imdb_folder)
        assert corpus.train.texts[0] == (imdb_folder / "train/neg/0_2.txt").read_bytes().decode()

    def test_another_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"expected the layout of the IMDB archive.*train/neg"):
            load(tmp_path)

    @pytest.mark.parametrize("name", ["reviews.tar.gz", "reviews.tar"])
    def test_a_cut_archive_is_refused_wherever_it_was_cut(self, imdb_folder: Path, tmp_path: Path, name: str) -> None:
        whole = archive(imdb_folder, tmp_path / name).read_bytes()
        cut = tmp_path / f"cut-{name}"
        for kept in range(100, int(0.9 * len(whole)), len(whole) // 37):
            cut.write_bytes(whole[:kept])
            with pytest.raises(DataError, match="expected a complete tar archive"):
                load(cut)

    @pytest.mark.parametrize(("bad", "read"), [("train", load), ("test", load_test)])
    def test_a_review_that_is_not_utf8_is_named(self, tmp_path: Path, bad: str, read: Callable[[Path], object]) -> None:
        write_two_parts(tmp_path / "aclImdb", bad)
        with pytest.raises(DataError, match=rf"{bad}/pos/0_1.txt: expected UTF-8"):
            read(tmp_path / "aclImdb")

    def test_the_test_part_is_not_read_with_the_training_part(self, tmp_path: Path) -> None:
        folder = write_two_parts(tmp_path / "aclImdb", "test")
        assert load(archive(folder, tmp_path / "reviews.tar")).train.texts == ("good", "good")
        (folder / "test/neg/1_1.txt").symlink_to("nothing")  # cannot be opened
        assert load(folder).train.texts == ("good", "good")
        assert len(load_test(write_two_parts(tmp_path / "other" / "aclImdb", "train"))) == 2


ROWS = [{"text": f"text, number {i}\nof many", "label": f"class {i % 3}"} for i in range(60)]


def write_rows(file: Path, rows: list[dict[str, object]]) -> Path:
    name = file.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pa.parquet.write_table(pa.Table.from_pylist(rows), file)
        return file
    if name.endswith(".jsonl"):
        content = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        separator = "\t" if name.endswith(".tsv") else ","
        content = f"text{separator}label\n" + "".join(f'"{row["text"]}"{separator}{row["label"]}\n' for row in rows)
    file.write_bytes(gzip.compress(content.encode()) if file.name.endswith(".gz") else content.encode())
    return file


class TestTable:
    @pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"])
    def test_every_format_gives_the_same_texts_and_labels(self, tmp_path: Path, name: str) -> None:
        corpus = load(write_rows(tmp_path / name, ROWS))
        assert corpus.label_names == ("class 0", "class 1", "class 2")
        assert len(corpus.train) == 48
        assert len(corpus.test) == 12
        assert sorted(corpus.train.texts + corpus.test.texts) == sorted(str(row["text"]) for row in ROWS)
        assert np.bincount(corpus.test.labels).tolist() == [4, 4, 4]

    def test_labels_belong_to_their_texts(self, tmp_path: Path) -> None:
        corpus = load(write_rows(tmp_path / "a.jsonl", ROWS))
        truth = {str(row["text"]): str(row["label"]) for row in ROWS}
        for part in (corpus.train, corpus.test):
            assert [corpus.label_names[label] for label in part.labels] == [truth[text] for text in part.texts]

    def test_numbers_may_be_labels(self, tmp_path: Path) -> None:
        rows = [{"text": f"t{i}", "label": i % 2} for i in range(20)]
        assert load(write_rows(tmp_path / "a.parquet", rows)).label_names == ("0", "1")

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([{"review": "x", "label": "a"}], r"expected a column 'text' \(--text-column\).*'review'"),
            ([{"text": "x", "label": "a"}, {"text": "y", "label": "a"}], "expected at least 2 labels"),
            (
                [{"text": str(i), "label": "ab"[i < 9] if i else "mixed"} for i in range(20)],
                "20% held out.*fewest texts: 'mixed' 1, 'b' 8, 'a' 11",
            ),
        ],
    )
    def test_a_wrong_table_is_refused(self, tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
        with pytest.raises(DataError, match=message):
            load(write_rows(tmp_path / "a.jsonl", rows))

    def test_an_unknown_format_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.xlsx").write_bytes(b"x")
        with pytest.raises(DataError, match=r"expected a name that ends in \.csv, .*'a\.xlsx'"):
            load(tmp_path / "a.xlsx")

    def test_a_broken_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.parquet").write_bytes(b"not parquet")
        with pytest.raises(DataError, match=r"a\.parquet: expected a Parquet file"):
            load_table(tmp_path / "a.parquet", text_column="text", label_column="label")

    @pytest.mark.parametrize(
        ("name", "separator", "encoding", "end"),
        [
            ("a.csv", ",", "utf-8-sig", "\r\n"),
            ("data[final].CSV", ";", "utf-8", "\n"),
            ("a.csv", ",", "utf-8", "\r"),
            ("a.tsv", "\t", "utf-16", "\n"),
        ],
    )
    def test_every_spelling_gives_the_same_texts_and_labels(
        self, tmp_path: Path, name: str, separator: str, encoding: str, end: str
    ) -> None:
        lines = ["text" + separator + "label", *(f"review {i}{separator}{['neg', 'pos'][i % 2]}" for i in range(40))]
        (tmp_path / name).write_bytes((end.join(lines) + end).encode(encoding))
        corpus = load(tmp_path / name)
        assert sorted(corpus.train.texts + corpus.test.texts) == sorted(f"review {i}" for i in range(40))
        assert corpus.label_names == ("neg", "pos")
        assert not corpus.notes

    @pytest.mark.parametrize("labels", [("NA", "yes"), ("false", "true"), ("1.0", "5.0"), ("nan", "null"), ("01", "1")])
    def test_texts_and_labels_stay_as_they_stand(self, tmp_path: Path, labels: tuple[str, str]) -> None:
        texts = ["null", "N/A", "true", *(f"{i}.50" for i in range(17))]
        content = "".join(f"{text},{labels[i % 2]}\n" for i, text in enumerate(texts))
        (tmp_path / "a.csv").write_text(f"text,label\n{content}")
        corpus = load(tmp_path / "a.csv")
        assert corpus.label_names == labels
        assert sorted(corpus.train.texts + corpus.test.texts) == sorted(texts)

    def test_rows_without_text_or_label_are_left_out_and_named(self, tmp_path: Path) -> None:
        rows = [f"t{i},{'ab'[i % 2]}" for i in range(20)]
        rows[2:2] = ["   ,a", ",b", "t,", "t,a,extra"]
        (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
        corpus = load(tmp_path / "a.csv")
        assert len(corpus.train) + len(corpus.test) == 20
        [note] = corpus.notes
        assert "left out 4 of 24 rows: line 4 (Expected a text" in note
        assert "; line 7 (Expected 2 fields" in note
        with pytest.raises(DataError, match=r"a\.csv: line 4: Expected a text"):
            load_corpus(tmp_path / "a.csv", strict=True)

    def test_labels_are_trimmed_and_that_is_said(self, tmp_path: Path) -> None:
        rows = [f"t{i},{label}" for i, label in enumerate(["a", " a", "b ", "b", "A"] * 8)]
        (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
        corpus = load(tmp_path / "a.csv")
        assert corpus.label_names == ("A", "a", "b")
        assert "around 16 labels" in corpus.notes[0]
        assert "['A', 'a'] differ in case alone" in corpus.notes[1]

    def test_bytes_that_do_not_decode_are_refused_unless_the_encoding_is_given(self, tmp_path: Path) -> None:
        rows = [f"t{i},{('positif', 'négatif')[i % 2]}" for i in range(20)]
        (tmp_path / "a.csv").write_bytes("\n".join(["text,label", *rows, ""]).encode("latin-1"))
        with pytest.raises(DataError, match=r"line 3: .*byte 0xe9 at line 3, byte 5.*--encoding cp1252"):
            load(tmp_path / "a.csv")
        corpus = load_corpus(tmp_path / "a.csv", spelling=Spelling(encoding="latin-1"))
        assert corpus.label_names == ("négatif", "positif")

    def test_a_quote_that_swallows_rows_is_told_of(self, tmp_path: Path) -> None:
        rows = [f"t{i}\t{'ab'[i % 2]}" for i in range(20)]
        rows[4] = '"' + rows[4]
        (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *rows, ""]))
        with pytest.raises(DataError, match=r"line 6 does not.*--no-quotes"):
            load(tmp_path / "a.tsv")
        corpus = load_corpus(tmp_path / "a.tsv", spelling=Spelling(quotes=False))
        assert len(corpus.train) + len(corpus.test) == 20


class TestSplits:
    def test_the_same_seed_gives_the_same_split_and_another_a_different_one(self, imdb_folder: Path) -> None:
        corpus = load_imdb(imdb_folder)
        assert corpus.test is None
        one, again, other = (split_corpus(corpus, validation_share=0.2, seed=seed) for seed in (3, 3, 4))
        assert one.validation.texts == again.validation.texts != other.validation.texts
        assert np.bincount(one.validation.labels).tolist() == [12, 12]

    def test_nothing_that_is_learned_from_stands_in_validation_or_test(self) -> None:
        train = (*(f"review {i}" for i in range(38)), "The SAME  one", "the same one")
        corpus = Corpus(
            "made up",
            ("a", "b"),
            LabelledTexts(train, np.array([0, 1] * 20, np.int32)),
            texts("the same\none", "new", "new"),
            unlabelled=("THE same one ", "review 0", "other"),
        )
        splits = split_corpus(corpus, validation_share=0.25, seed=1)
        held_out = {" ".join(text.lower().split()) for text in splits.validation.texts + splits.test.texts}
        learned_from = {" ".join(text.lower().split()) for text in splits.train.texts + splits.unlabelled}
        assert not held_out & learned_from
        assert splits.left_out["train_in_test"] + splits.left_out["validation_in_test"] == 2
        assert splits.left_out["twice_in_test"] == 1
        assert splits.left_out["unlabelled_in_validation_or_test"] >= 1
        assert len(splits.train) + splits.left_out["train_in_validation_or_test"] == 30
        without_test = split_corpus(replace(corpus, test=None), validation_share=0.25, seed=1)
        assert without_test.test is None
        assert not [name for name in without_test.left_out if "test" in name]
        assert len(without_test.train) + without_test.left_out["train_in_validation"] == 30


@pytest.mark.parametrize("rows", [["fine,good"], ["fine,good", "poor,bad", "dire,bad"]], ids=["one", "a-rare-label"])
def test_a_table_that_cannot_be_split_can_be_used_as_a_whole(tmp_path: Path, rows: list[str]) -> None:
    table = tmp_path / "few.csv"
    table.write_text("\n".join(["text,label", *rows]) + "\n")
    with pytest.raises(DataError, match=r"at least 2 labels|cannot be split"):
        load_corpus(table)
    corpus = load_corpus(table, whole=True)
    assert corpus.all_labelled().texts == tuple(row.split(",")[0] for row in rows)
    assert len(corpus.train) == 0
    table.write_text("text,label\n")
    with pytest.raises(DataError, match="expected a label"):
        load_corpus(table, whole=True)
