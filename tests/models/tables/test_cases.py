"""Small files as people have them: what each is read as, for training and scoring alike."""

import gzip
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from models.tables.errors import TableError
from tests.models.tables.reading import read

STAY = ["Great stay", "Bad stay"]
BOM = b"\xef\xbb\xbf"

GOOD: dict[str, tuple[str, bytes, list[str]]] = {
    "a mark before plain names": ("in.csv", BOM + b"text,stars\r\nGreat stay,5\r\nBad stay,1\r\n", STAY),
    "a mark before quoted names": ("in.csv", BOM + b'"text","stars"\r\n"Great stay","5"\r\n"Bad stay","1"\r\n', STAY),
    "a mark before another quoted name": ("in.tsv", BOM + b'"id"\t"text"\r\n1\tGreat stay\r\n2\tBad stay\r\n', STAY),
    "a mark before JSON": ("in.jsonl", BOM + b'{"text":"Great stay"}\n{"text":"Bad stay"}\n', STAY),
    "an unnamed index": ("in.csv", b",text,stars\n0,Great stay,5\n1,Bad stay,1\n", STAY),
    "repeated empty names": ("in.csv", b"v1,text,,,\nham,Great stay,,,\nspam,Bad stay,,,\n", STAY),
    "surplus empty cells": ("in.csv", b"id,text\n1,Great stay,,\n2,Bad stay,,\n", STAY),
    "UTF-16 with a mark": ("in.csv", "id,text\r\n1,Great stay\r\n2,Bad stay\r\n".encode("utf-16"), STAY),
    "UTF-16, the other way round": ("in.csv", "\ufeffid,text\n1,Great stay\n2,Bad stay\n".encode("utf-16-be"), STAY),
    "UTF-32 with a mark": ("in.jsonl", '{"text":"Great stay"}\n{"text":"Bad stay"}\n'.encode("utf-32"), STAY),
    "carriage returns alone": ("in.csv", b"id,text\r1,Great stay\r2,Bad stay\r", STAY),
    "line breaks in fields": (
        "in.csv",
        b'id,text\r\n1,"first line\r\nsecond line, good"\r\n2,"tab\there"\r\n3,"lone\rcr"\r\n',
        ["first line\r\nsecond line, good", "tab\there", "lone\rcr"],
    ),
    "a lone carriage return without quotes": ("in.csv", b"id,text\n1,lone\rcr\n", ["lone\rcr"]),
    "characters that others take for line ends": (
        "in.csv",
        "id,text\n1,Great\x0c stay\x1c ok\x85 line\u2028sep\n2,Bad\n".encode(),
        ["Great\x0c stay\x1c ok\x85 line\u2028sep", "Bad"],
    ),
    "NUL": ("in.csv", b"id,text\n1,Great\x00 stay\n2,Bad stay\n", ["Great\0 stay", "Bad stay"]),
    "backslashes": ("in.csv", b'id,text\n1,"He said \\"wow\\", great"\n2,"C:\\"\n', ['He said "wow", great', "C:\\"]),
    "quotes in the middle": ("in.csv", b'id,text\n1,The "best" film\n2,5" screen\n', ['The "best" film', '5" screen']),
    "bare control characters": ("in.jsonl", b'{"text":"Great\tstay\x01"}\n', ["Great\tstay\x01"]),
    "words for nothing": (
        "in.csv",
        b"id,text\n1,NaN\n2,null\n3,N/A\n4,None\n5,true\n6,1.50\n7,01\n8,-1\n9,10:30\n",
        ["NaN", "null", "N/A", "None", "true", "1.50", "01", "-1", "10:30"],
    ),
    "a suffix in capitals": ("in.CSV", b"id,text\n1,Great stay\n2,Bad stay\n", STAY),
    "gzip without the suffix": ("in.csv", gzip.compress(b"id,text\n1,Great stay\n2,Bad stay\n"), STAY),
    "the suffix without gzip": ("in.csv.gz", b"id,text\n1,Great stay\n2,Bad stay\n", STAY),
    "Zstandard": (
        "in.TSV.ZST",
        b"".join(pa.Codec("zstd").compress(part, asbytes=True) for part in (b"text\nGreat", b" stay\nBad stay\n")),
        STAY,
    ),
    "a text a line": ("in.txt", b"Great stay\n\n Bad, stay\r\n", ["Great stay", " Bad, stay"]),
    "an array by its suffix": ("in.json", b'[{"text":"Great stay"},\n{"text":"Bad stay"}]\n', STAY),
    "an array in spite of its suffix": ("in.jsonl", b'[{"text":"Great stay"},{"text":"Bad stay"}]\n', STAY),
    "an indented array": ("in.ndjson", json.dumps([{"text": text} for text in STAY], indent=2).encode(), STAY),
    "objects that each span lines": ("in.jsonl", b'{\n "text": "Great stay"\n}\n{\n "text": "Bad stay"\n}\n', STAY),
    "two arrays": ("in.json", b'[{"text":"Great stay"}]\n[{"text":"Bad stay"}]\n', STAY),
    "a foreign NaN": ("in.jsonl", b'{"text":"Great stay","n":NaN}\n{"text":"Bad stay","n":1}\n', STAY),
    "a foreign field that changes type": (
        "in.jsonl",
        b'{"text":"Great stay","n":null}\n{"text":"Bad stay","n":["$9",12345678901234567890123]}\n',
        STAY,
    ),
    "no rows": ("in.csv", b"id,text\n", []),
}


@pytest.mark.parametrize("case", GOOD)
def test_texts_are_read_as_they_stand(tmp_path: Path, case: str) -> None:
    name, content, texts = GOOD[case]
    found = read(tmp_path / name, content)
    assert found.texts == texts
    assert not any(found.faults)
    assert not found.warnings


FAULTS: dict[str, tuple[str, bytes, list[str | None]]] = {
    "Latin-1": ("in.csv", b"id,text\n1,Un caf\xe9\n2,x\n", ["0xe9 at line 2, byte 9. The file may be in cp1252", None]),
    "Cyrillic": (
        "in.txt",
        "Фильм очень хороший\n".encode("cp1251") + b"fine\n",
        ["at line 1, byte 1. The file may be in cp1251", None],
    ),
    "nothing": ("in.csv", b'id,text\n5,\n6,   \n7,""\n8,x\n', ["an empty one", "an empty one", "an empty one", None]),
    "no string": (
        "in.jsonl",
        b'{"text":5}\n{"text":null}\n{"text":["a"]}\n{"text":""}\n{"id":1}\n{"text":"x"}\n{"text":true}\n',
        ["the number 5", "none", "a list", "an empty one", "none", None, "true"],
    ),
    "no JSON": ("in.jsonl", b'{"text":"a"\n["a"]\n{"text":"a\xff"}\n{"text":"\\ud800"}\n',
                ["at line 1", "Expected a JSON object", "0xff at line 3", "surrogate"]),
    "rows of a document": ("in.json", b'[{"text":"a"}, 5,\n["b"], {"n": 1}]', [None, "at line 1", "at line 2", "none"]),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_bad_row_says_why_and_the_others_are_read(tmp_path: Path, case: str) -> None:
    name, content, expected = FAULTS[case]
    found = read(tmp_path / name, content)
    assert len(found.faults) == len(expected)
    for fault, text, part in zip(found.faults, found.texts, expected, strict=True):
        assert (text is None) == (part is not None)
        assert fault is None if part is None else part in str(fault)


@pytest.mark.parametrize(
    ("encoding", "name", "text"),
    [
        ("latin-1", "in.csv", "Un café délicieux"),
        ("cp1252", "in.tsv", "I didn’t like it – really"),
        ("cp1251", "in.jsonl", "Фильм очень хороший"),
        ("gb18030", "in.json", "这部电影很好看"),
        ("shift_jis", "in.csv", "とても良い映画"),
        ("utf-16-le", "in.csv", "café 😀"),
        ("utf-16", "in.txt", "café 😀"),
        ("cp037", "in.csv", "From a mainframe"),
        ("UTF-8-sig", "in.csv", "café"),
    ],
)
def test_an_encoding_may_be_given(tmp_path: Path, encoding: str, name: str, text: str) -> None:
    separator = "\t" if name.endswith(".tsv") else ","
    content = {
        "in.jsonl": json.dumps({"text": text}, ensure_ascii=False),
        "in.json": json.dumps([{"text": text}], ensure_ascii=False),
        "in.txt": text,
    }.get(name, f"id{separator}text\n1{separator}{text}\n")
    assert read(tmp_path / name, content.encode(encoding), encoding=encoding).texts == [text]


def test_what_an_encoding_does_not_hold_is_no_text(tmp_path: Path) -> None:
    found = read(tmp_path / "in.csv", b"id,text\n1,a\x81b\n2,fine\n", encoding="cp1252")
    assert found.texts == [None, "fine"]
    assert "Expected cp1252. Received byte 0x81 at line 2, byte 4." in str(found.faults[0])
    found = read(tmp_path / "in.csv", "\ufeffid,text\n1,".encode("utf-16-le") + b"\x00\xd8\n\x002\x00,\x00x\x00")
    assert found.texts == [None, "x"]  # half a surrogate pair
    with pytest.raises(TableError, match="expected utf-16-le"):
        read(tmp_path / "in.csv", "\ufeffid,text\n1,fine".encode("utf-16-le") + b"x")


@pytest.mark.parametrize("encoding", ["none-such", "base64"])
def test_an_unknown_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(TableError, match="--encoding: expected the name"):
        read(tmp_path / "in.csv", b"text\n", encoding=encoding)


@pytest.mark.parametrize(
    ("column", "names", "message"),
    [
        ("text", "Id,Text", r"Received columns \['Id', 'Text'\]. Nearly the same is 'Text': --column Text"),
        ("text", "id, text", "Nearly the same is ' text': --column ' text'"),
        ("label", "text,labels", "Nearly the same is 'labels'"),
        ("text", "review [spoiler],[/b]label", r"Received columns \['review \[spoiler\]', '\[/b\]label'\].$"),
        ("text", "text,text,label", "expected one column 'text'.*Received 2 of that name"),
        ("text", ",".join(map(str, range(99))), "'29'] and 69 more.$"),
    ],
)
def test_a_column_is_never_guessed(tmp_path: Path, column: str, names: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(tmp_path / "in.csv", f"{names}\n".encode(), column=column)


def test_labels_are_text_as_it_stands_and_may_be_numbers_in_json(tmp_path: Path) -> None:
    content = (
        b'{"text":"a","label":1.50}\n{"text":"a","label":true}\n{"text":"a","label":" NA "}\n{"text":"a","label":01}\n'
    )
    found = read(tmp_path / "in.jsonl", content, label="label")
    assert found.labels == ["1.50", "true", " NA ", None]
    found = read(tmp_path / "in.csv", b"text,label\na,01\na,1.0\na,null\na,\n,x\n", label="label")
    assert found.labels == ["01", "1.0", "null", None, None]
    assert [bool(fault) for fault in found.faults] == [False, False, False, True, True]
    assert found.lines == [2, 3, 4, 5, 6]
    with pytest.raises(TableError, match="has texts alone"):
        read(tmp_path / "in.txt", b"a\n", label="label")


@pytest.mark.parametrize("suffix", ["parquet", "parquet.gz", "parquet.ZST"])
def test_parquet(tmp_path: Path, suffix: str) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"text": ["a", None, "b"], "label": pa.array([1, 2, None])})
    pa.parquet.write_table(table, sink)
    content = sink.getvalue().to_pybytes()
    if suffix != "parquet":
        content = gzip.compress(content) if suffix.endswith("gz") else pa.Codec("zstd").compress(content, asbytes=True)
    found = read(tmp_path / f"in.{suffix}", content, label="label")
    assert (found.texts, found.labels, found.lines) == (["a", None, None], ["1", None, None], [1, 2, 3])
    with pytest.raises(TableError, match="expected a Parquet file"):
        read(tmp_path / f"in.{suffix}", content[:-9])


def test_without_pyarrow_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compressed = pa.Codec("zstd").compress(b"text\na\n", asbytes=True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "models.tables.parquet", raising=False)
    for name, content in (("in.parquet", b"PAR1"), ("in.csv.zst", compressed)):
        with pytest.raises(TableError, match=r"pyarrow.*heed\[cpu,parquet\]"):
            read(tmp_path / name, content)
