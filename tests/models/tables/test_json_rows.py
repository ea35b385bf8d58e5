"""JSON: rows keep what they had as it was written, also where they are broken or in a document."""

import json
from pathlib import Path

import pytest

from models.tables.json_rows import JsonWriter
from models.tables.rows import MAX_ROW_BYTES
from tests.models.tables.reading import read


def written(path: Path, content: bytes, array: bool = False) -> list[str]:
    found = read(path, content)
    writer = JsonWriter(None, ("n",), array)
    parts = [writer.encode(window, {"n": [7] * len(window)}) for window in found.windows]
    return (writer.header() + b"".join(parts) + writer.footer()).decode().splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"text": "a", "x":1.50,"y":123456789012345678 }', '{"text": "a", "x":1.50,"y":123456789012345678,"n":7}'),
        (b'{"text":"a","x":NaN}', '{"text":"a","x":NaN,"n":7}'),
        (b'{"text":"a\t\x01"}', '{"text":"a\\u0009\\u0001","n":7}'),
        (b'{"id":7,"x":[1.0],"text":"a" "b"}', '{"id":7,"x":[1.0],"text":"a","n":7}'),
        (b'{"id": 7, "text": "a', '{"id":7,"n":7}'),
        (b'{"text": "a", "id": 7', '{"text":"a","n":7}'),  # the number may go on
        (b'{"id":1,"text":"caf\xe9"}', '{"id":1,"text":"caf\ufffd","n":7}'),
        (b"[1]", '{"n":7}'),
        (b"{}", '{"n":7}'),
    ],
)  # fmt: skip
def test_a_row_comes_back_as_it_was_written(tmp_path: Path, line: bytes, expected: str) -> None:
    rows = written(tmp_path / "in.jsonl", b'{"text":"first"}\n' + line + b'\n{"text":"last"}\n')
    assert rows == ['{"text":"first","n":7}', expected, '{"text":"last","n":7}']


def test_a_document_becomes_lines_and_lines_a_document(tmp_path: Path) -> None:
    rows = [{"text": f"line\n{number}", "deep": {"a": [number, None]}} for number in range(5)]
    expected = [row | {"n": 7} for row in rows]
    document = json.dumps(rows, indent=2).encode()
    assert [json.loads(line) for line in written(tmp_path / "in.json", document)] == expected
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert json.loads("\n".join(written(tmp_path / "in.jsonl", lines, array=True))) == expected
    assert read(tmp_path / "in.json", document).lines == [2, 11, 20, 29, 38]


def test_a_document_on_one_long_line_is_read_in_parts(tmp_path: Path) -> None:
    rows = [{"text": "é" * 1000, "n": number} for number in range(1000)]
    found = read(tmp_path / "in.json", json.dumps(rows, ensure_ascii=False).encode())
    assert found.texts == [row["text"] for row in rows]


def test_a_line_that_is_too_long_is_a_fault_of_its_row(tmp_path: Path) -> None:
    long = b'{"text":"' + b"a" * MAX_ROW_BYTES + b'"}\n'
    found = read(tmp_path / "in.jsonl", b'{"text":"a"}\n' + long + b'{"text":"b"}\n')
    assert found.texts == ["a", None, "b"]
    assert found.lines == [1, 2, 3]
    assert "at line 2" in str(found.faults[1])
