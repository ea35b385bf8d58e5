"""Score files of every format into every other: rows in order, a bad row beside good ones."""

import csv
import datetime
import decimal
import gzip
import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from models.tables.errors import TableError
from service.local import LocalModel
from service.scoring.errors import ScoreError
from service.settings import Settings
from tests.service.scoring.conftest import Score
from tests.tiny_bundle import MAX_TOKENS, SENTENCES

ROWS = [
    {"id": number, "text": f"{SENTENCES[number % 4]} {'the plot ' * (7 * number % 40)}", "by": f'Zoë "{number}", \n'}
    for number in range(23)
]
LABELS = ("negative", "positive")
ADDED = ["label", "probability", "score_negative", "score_positive", "truncated", "warnings", "error"]


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    kind, _, compression = path.name.partition(".")[2].partition(".")
    stream = io.StringIO(newline="")
    content = b""
    if kind == "parquet":
        sink = io.BytesIO()
        pa.parquet.write_table(pa.Table.from_pylist(rows), sink, row_group_size=10)
        content = sink.getvalue()
    elif kind == "jsonl":
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    elif kind == "json":
        json.dump(rows, stream, indent=1)
    else:
        writer = csv.DictWriter(stream, rows[0].keys(), delimiter="\t" if kind == "tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    content = content or stream.getvalue().encode()
    if compression == "gz":
        content = gzip.compress(content)
    elif compression == "zst":
        content = pa.Codec("zstd").compress(content, asbytes=True)
    path.write_bytes(content)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The rows, each value as the format has it."""
    kind = path.name.partition(".")[2].partition(".")[0]
    with pa.input_stream(path) as stream:  # decompresses by the suffix
        content = stream.read()
    if kind == "parquet":
        return pa.parquet.read_table(io.BytesIO(content)).to_pylist()
    if kind == "json":
        return json.loads(content)
    text = io.StringIO(content.decode(), newline="")
    if kind == "jsonl":
        return [json.loads(line) for line in text]
    return list(csv.DictReader(text, delimiter="\t" if kind == "tsv" else ","))


KINDS = ("csv", "tsv.gz", "jsonl", "csv.zst", "json", "parquet", "parquet.gz")


@pytest.mark.parametrize(("before", "after"), list(itertools.product(KINDS, KINDS)))
def test_every_format_becomes_every_other(score_file: Score, tmp_path: Path, before: str, after: str) -> None:
    place = tmp_path / f"out.{after}"
    assert score_file(write(tmp_path / f"in.{before}"), place) == (len(ROWS), 0)
    rows = read(place)
    assert [list(row) for row in rows] == [["id", "text", "by", *ADDED]] * len(ROWS)
    for row, own in zip(rows, ROWS, strict=True):
        assert (row["text"], row["by"], str(row["id"])) == (own["text"], own["by"], str(own["id"]))
        scores = [float(row[f"score_{label}"]) for label in LABELS]
        assert sum(scores) == pytest.approx(1)
        assert float(row["probability"]) == max(scores)
        assert row["label"] == LABELS[scores.index(max(scores))]
        assert row["error"] in (None, "")
    if before == after == "parquet":
        assert pa.parquet.read_schema(place).field("id").type == pa.int64()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"in.{before}", f"out.{after}"])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_answers_are_those_of_a_single_prediction(
    score_file: Score, models_dir: Path, tmp_path: Path, kind: str
) -> None:
    model = LocalModel.load(Settings(models_dir=models_dir, batch_sizes=(1,), token_buckets=(64,)))
    place = tmp_path / f"out.{kind}"
    score_file(write(tmp_path / "in.csv"), place, tokens=True, explain=True)
    for row in read(place):
        [alone] = model.predict([row["text"]])
        tokens = json.loads(row["tokens"]) if kind == "csv" else row["tokens"]
        assert row["label"] == alone["label"]
        assert row["target"] == alone["target"]
        assert float(row["base_log_odds"]) == alone["base_log_odds"]
        for label, score in alone["scores"].items():
            assert float(row[f"score_{label}"]) == pytest.approx(score, abs=1e-5)
        for token, other in zip(tokens, alone["tokens"], strict=True):
            assert [token[name] for name in ("text", "start", "end", "known")] == [
                other[name] for name in ("text", "start", "end", "known")
            ]
            assert token["weight"] == pytest.approx(other["weight"], abs=1e-5)
            assert token["contribution"] == pytest.approx(other["contribution"], abs=1e-5)
        by_weight = sorted(tokens, key=lambda token: -token["weight"])[:5]
        assert row["heaviest_tokens"].split() == [token["text"] for token in by_weight]
        assert [float(each) for each in row["heaviest_weights"].split()] == [token["weight"] for token in by_weight]
        by_share = sorted(tokens, key=lambda token: -abs(token["contribution"]))[:5]
        assert row["strongest_tokens"].split() == [token["text"] for token in by_share]
        shares = [float(each) for each in row["strongest_contributions"].split()]
        assert shares == pytest.approx([token["contribution"] for token in by_share], abs=1e-7)
        log_odds = math.log(float(row["score_positive"]) / float(row["score_negative"]))
        assert float(row["base_log_odds"]) + sum(token["contribution"] for token in tokens) == pytest.approx(
            log_odds, abs=1e-4
        )


def test_a_bad_row_is_told_of_in_its_row_and_the_others_are_scored(score_file: Score, tmp_path: Path) -> None:
    lines = [
        b'{"text": "A dull film.", "n": 1.50}',
        b'{"text": null, "n": 12345678901234567890123}',
        b'{"text": " \\n"}',
        b'{"text": "<br /> <br>"}',
        b'{"text": 3}',
        b"",
        b'{"other": "A dull film."}',
        b'["A dull film."]',
        b'{"text": "A dull film."',
        b'{"text": "caf\xe9"}',
        b'{"text": "\\ud800"}',
        b"{ }",
        b'  {"text": "' + b"dull " * (MAX_TOKENS + 1) + b'"}  ',
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    assert score_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl") == (12, 10)
    written = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert written[0].startswith(b'{"text": "A dull film.", "n": 1.50,"label":"')  # what it had is not even respelled
    assert written[1].startswith(b'{"text": null, "n": 12345678901234567890123,"label":null')
    rows = [json.loads(line) for line in written]
    expected = [
        None,
        "Received none",
        "Received an empty one",
        "Received a text with none",
        "the number 3",
        "Received none",
        "Expected a JSON object",
        "at line 9",
        "byte 0xe9 at line 10",
        "surrogate",
        "Received none",
        None,
    ]
    for row, part in zip(rows, expected, strict=True):
        assert (row["error"] is None) if part is None else (part in row["error"])
        assert (row["label"] is None) == (row["probability"] is None) == (part is not None)
    assert [rows[0]["truncated"], rows[1]["truncated"], rows[-1]["truncated"]] == [False, None, True]
    assert [rows[0]["warnings"], rows[1]["warnings"], rows[-1]["warnings"]] == [None, None, "truncated"]
    assert rows[7]["text"] == "A dull film."  # of a broken row, what can be read


def test_bad_rows_of_csv_keep_their_place(score_file: Score, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(
        b"\xef\xbb\xbftext,n\r\nA dull film.,1\r\n,2\r\ncaf\xe9,3\r\nA dull, dull film.,4\r\n"
        b'short\r\n\r\n"two\r\nlines",7\r\n'
    )
    assert score_file(tmp_path / "in.csv", tmp_path / "out.csv") == (6, 4)
    rows = read(tmp_path / "out.csv")
    assert [row["n"] for row in rows] == ["1", "2", "3", " dull film.", "", "7"]
    assert [row["text"] for row in rows] == ["A dull film.", "", "caf\ufffd", "A dull", "short", "two\r\nlines"]
    for row, part in zip(rows, ["", "empty one", "at line 4", "Received 3, at line 5", "Received 1", ""], strict=True):
        assert part in row["error"]
        assert bool(row["label"]) is not bool(part)


def test_values_of_parquet_keep_their_types_and_become_text_elsewhere(score_file: Score, tmp_path: Path) -> None:
    values = {
        "text": pa.array(["A dull film.", None]),
        "day": pa.array([datetime.date(2024, 2, 29), None]),
        "list": pa.array([[1, 2], []]),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
        "price": pa.array([decimal.Decimal("1.10"), None]),
        "raw": pa.array([b"\xff", b""]),
    }
    pa.parquet.write_table(pa.table(values, metadata={"made by": "a test"}), tmp_path / "in.parquet")
    for kind in ("parquet", "csv", "jsonl"):
        assert score_file(tmp_path / "in.parquet", tmp_path / f"out.{kind}") == (2, 1)
    kept = pa.parquet.read_table(tmp_path / "out.parquet")
    assert kept.select(list(values)).equals(pa.parquet.read_table(tmp_path / "in.parquet"))
    assert kept.schema.metadata[b"made by"] == b"a test"
    [first, second] = read(tmp_path / "out.csv")
    assert [first[name] for name in ("day", "list", "kind", "price")] == ["2024-02-29", "[1,2]", "a", "1.10"]
    assert second["day"] == ""
    [first, second] = read(tmp_path / "out.jsonl")
    assert [first[name] for name in ("day", "list", "kind", "price")] == ["2024-02-29", [1, 2], "a", "1.10"]


def test_json_lines_become_columns_of_the_types_their_values_have(score_file: Score, tmp_path: Path) -> None:
    rows = [
        {"text": "A dull film.", "a": 1, "b": 1, "c": [1], "d": True, "e": 1, "f": None},
        {"b": 1.5, "a": 2, "text": "Superb!", "e": "x", "g": 2**70},
        {"text": "Superb!", "c": None, "late": {"x": "ü"}},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    score_file(tmp_path / "in.jsonl", tmp_path / "out.parquet")
    table = pa.parquet.read_table(tmp_path / "out.parquet")
    kinds = {field.name: str(field.type) for field in table.schema if field.name not in ADDED}
    assert kinds == {
        **{"text": "string", "a": "int64", "b": "double", "c": "string", "d": "bool", "e": "string", "f": "string"},
        **{"g": "string", "late": "string"},
    }
    assert table["g"].to_pylist() == [None, str(2**70), None]
    assert table["late"].to_pylist() == [None, None, '{"x":"ü"}']
    assert table["e"].to_pylist() == ["1", "x", None]
    score_file(tmp_path / "in.jsonl", tmp_path / "out.csv")
    assert [row["late"] for row in read(tmp_path / "out.csv")] == ["", "", '{"x":"ü"}']
    assert [row["a"] for row in read(tmp_path / "out.csv")] == ["1", "2", ""]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_names_that_are_taken_are_refused_unless_there_is_a_prefix(
    score_file: Score, tmp_path: Path, kind: str
) -> None:
    source = write(tmp_path / f"in.{kind}", [row | {"label": "mine", "error": "e"} for row in ROWS])
    for after in ("csv", "jsonl", "parquet"):
        with pytest.raises(ScoreError, match=r"\['label', 'error'\].*--prefix"):
            score_file(source, tmp_path / f"out.{after}")
        score_file(source, tmp_path / f"out.{after}", prefix="heed_")
        [row, *_] = read(tmp_path / f"out.{after}")
        assert row["label"] == "mine"
        assert row["heed_label"] in LABELS


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_without_rows_stays_one(score_file: Score, tmp_path: Path, kind: str) -> None:
    (tmp_path / "in.csv").write_text("text,n\n")
    assert score_file(tmp_path / "in.csv", tmp_path / f"out.{kind}") == (0, 0)
    assert read(tmp_path / f"out.{kind}") == []


MISTAKES = {
    "no column": ("in.csv", b"review\nfine\n", "expected a column 'text'.*'review'"),
    "no name": ("in.jsonl", b'{"review": "fine"}\n', "expected a column 'text'.*'review'"),
    "empty": ("in.csv", b"", "The input is empty"),
    "twice the chosen name": ("in.csv", b"text,text\na,b\n", "expected one column 'text'.*Received 2"),
    "another encoding": ("in.csv", "text,ü\n".encode("latin-1"), "names cannot be read.*--encoding cp1252"),
    "UTF-16 without a mark": ("in.csv", "text,n\n".encode("utf-16-le"), "--encoding utf-16-le"),
    "a quote that does not end": ("in.csv", b'text\nfine\n"fine\nfine\n', "line 3"),
    "a workbook": ("in.csv", b"PK\x03\x04rest", "Excel workbook"),
    "gzip that breaks off": ("in.csv.gz", gzip.compress(b"text\nfine\n")[:-9], "in.csv.gz"),
    "no Parquet": ("in.parquet", b"text\nfine\n", "expected a Parquet file"),
    "no table": ("in.xlsx", b"", r"\.jsonl.*'in.xlsx'"),
    "a document that breaks off": ("in.json", b'[{"text": "fine"}', "expected JSON.*the array does not end"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_input_that_cannot_be_read_is_told_in_a_line(score_file: Score, tmp_path: Path, mistake: str) -> None:
    name, content, expected = MISTAKES[mistake]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=expected):
        score_file(tmp_path / name, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_file_that_is_not_there(score_file: Score, tmp_path: Path) -> None:
    for name in ("in.csv", "in.jsonl", "in.parquet"):
        with pytest.raises(TableError, match=name):
            score_file(tmp_path / name, tmp_path / "out.csv")
    write(tmp_path / "in.csv")
    with pytest.raises(ScoreError, match="nowhere"):
        score_file(tmp_path / "in.csv", tmp_path / "nowhere" / "out.csv")


def test_a_column_that_is_no_text_is_refused(score_file: Score, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet")
    with pytest.raises(TableError, match=r"strings in column 'id'.*int64"):
        score_file(source, tmp_path / "out.csv", column="id")
