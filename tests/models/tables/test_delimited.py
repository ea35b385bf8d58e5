"""CSV and TSV: what was written is read again, and a row that was delimited is not respelled."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tables.columns import Chosen
from models.tables.delimited import DelimitedReader, split_fields
from models.tables.delimited_writer import DelimitedWriter
from models.tables.errors import TableError
from models.tables.rows import Row, TextRows, Window
from models.tables.source import Source
from tests.models.tables.reading import Read, read

FIELDS = st.text(
    st.sampled_from('ab ,"\r\n\t;é\ufffd\u2028\x00\x1c') | st.characters(exclude_categories=["Cs"]), max_size=8
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def windows_of(folder: Path, content: bytes) -> list[Window]:
    (folder / "in.csv").write_bytes(content)
    reader = DelimitedReader(Source(folder / "in.csv"), Chosen("a", "--column"), None, 3, [","])
    try:
        return list(reader.windows())
    finally:
        reader.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=8))
def test_what_is_written_is_read_again(folder: Path, rows: list[tuple[str, str]]) -> None:
    none = TextRows([Row(0, [])] * len(rows), "another", ())
    window = Window([None] * len(rows), [], [None] * len(rows), [0] * len(rows), none, {"rows": len(rows)}, None)
    writer = DelimitedWriter((), ("a", "b"))
    content = writer.header() + writer.encode(window, {"a": [row[0] for row in rows], "b": [row[1] for row in rows]})
    assert [tuple(row) for window in windows_of(folder, content) for row in window.rows.records()] == rows


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_row_stays_as_it_was_spelled(folder: Path, rows: list[tuple[str, str]], end: str, quoted: bool) -> None:
    buffer = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted or any("\r" in field for row in rows for field in row) else csv.QUOTE_MINIMAL
    csv.writer(buffer, lineterminator=end, quoting=quoting).writerows(rows)
    windows = windows_of(folder, b"a,b\n" + buffer.getvalue().encode())
    writer = DelimitedWriter(("a", "b"), ("n",))
    written = b"".join(writer.encode(window, {"n": [1] * len(window)}) for window in windows).decode()
    assert written == "".join(f"{row.raw},1\n" for window in windows for row in window.rows.rows)  # type: ignore[attr-defined]
    again = list(csv.reader(io.StringIO(written, newline="")))
    assert again == [[*row, "1"] for row in rows]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('a,"b ""c"" d",\n', ["a", 'b "c" d', ""]),
        ('5" screen,The "best" film\r\n', ['5" screen', 'The "best" film']),
        (r'"a \"b\", c",d', ['a "b", c', "d"]),
        (r'"C:\",d', ["C:\\", "d"]),
        ('"Great" film,d', ['"Great" film', "d"]),
        ('"a\nb",c', ["a\nb", "c"]),
        ("", [""]),
    ],
)
def test_quotes(line: str, fields: list[str]) -> None:
    first, *rest = line.splitlines(keepends=True) or [""]
    assert split_fields(first, ",", iter(rest).__next__)[0] == fields


@pytest.mark.parametrize(
    ("header", "name", "delimiter"),
    [
        ("id;text", "in.csv", ";"),
        ("id|text", "in.csv", "|"),
        ("id\ttext", "in.csv", "\t"),
        ("id,text", "in.tsv", ","),
        ("text", "in.csv", ","),
        ("a;b,text", "in.csv", ","),
        ("sep=;\nid;text", "in.csv", ";"),
        ('"i;d";"text"', "in.csv", ";"),
    ],
)
def test_the_line_of_names_makes_the_delimiter_plain(tmp_path: Path, header: str, name: str, delimiter: str) -> None:
    width = 1 if header == "text" else 2
    found = read(tmp_path / name, f"{header}\n{delimiter.join(['fine'] * width)}\n".encode())
    assert (found.texts, found.faults) == (["fine"], [None])
    assert getattr(found.reader, "delimiter", "") == delimiter


def test_a_given_delimiter_is_not_doubted(tmp_path: Path) -> None:
    assert read(tmp_path / "in.csv", b"a,text^b\nx,fine^y\n", column="b", delimiter="^").texts == ["y"]
    with pytest.raises(TableError, match="Nearly the same is 'id,text'"):
        read(tmp_path / "in.csv", b"id,text\n", column="id_text", delimiter=";")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("in.tsv", b'id\ttext\n1\t"a\n2\tb"\n', "at line 2"),
        ("in.csv", b'id,text\n1,x\n2,"a\n3,b\n4,c"\n', "at line 3"),
        ("in.csv", b'id,text\n1,x\n2,"a\n3,b\n4",c\n', "at line 3"),
    ],
)
def test_a_quote_that_swallows_lines_is_told_of(tmp_path: Path, name: str, content: bytes, line: str) -> None:
    [warning] = read(tmp_path / name, content).warnings
    assert line in warning
    assert "--no-quotes" in warning
    found = read(tmp_path / name, content, quotes=False)
    assert not found.warnings
    assert len(found.texts) == content.count(b"\n") - 1


def test_prose_over_lines_is_no_cause_for_a_warning(tmp_path: Path) -> None:
    assert not read(tmp_path / "in.csv", b'id,text\n1,"one, two\nthree, four"\n2,"a\n\nb, c\nd"\n').warnings


def test_warnings_come_to_an_end(tmp_path: Path) -> None:
    warnings = read(tmp_path / "in.tsv", b"id\ttext\n" + b'1\t"a\n2\tb"\n' * 50).warnings
    assert len(warnings) == 5
    assert "Further ones are not told of" in warnings[-1]


def test_ragged_rows_are_faults_but_surplus_empty_cells_are_none(tmp_path: Path) -> None:
    found: Read = read(tmp_path / "in.csv", b"id,text\n1,a,,\n2,b,c\n3\n")
    assert found.texts == ["a", None, None]
    assert [fault and fault.split(". ")[1] for fault in found.faults] == [
        None,
        "Received 3, at line 3.",
        "Received 1, at line 4.",
    ]


def test_without_quotes_what_is_written_is_spelled_for_readers_that_know_them(tmp_path: Path) -> None:
    found = read(tmp_path / "in.tsv", b'id\ttext\n1\t"a\n2\tb\n', quotes=False)
    [window] = found.windows
    assert DelimitedWriter(("id", "text"), ("n",), "\t").encode(window, {"n": [1, 2]}) == b'1\t"""a"\t1\n2\tb\t2\n'
