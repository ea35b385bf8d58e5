"""CSV: written rows are read back, and CSV rows keep their spelling."""

import csv
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from service.scoring.csv_table import CsvReader, CsvRows, CsvWriter
from service.scoring.rows import Window
from service.scoring.streams import Source

FIELDS = st.text(
    st.sampled_from('ab ,"\r\n\t;é\ufffd\u2028\x00\x1c') | st.characters(exclude_categories=["Cs"]), max_size=8
)


def read(content: bytes, window_rows: int = 3) -> list[Window]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        path.write_bytes(content)
        reader = CsvReader(Source(path), "a", window_rows)
        windows = list(reader.windows())
        reader.close()
        return windows


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=8))
def test_written_rows_are_read_back(rows: list[tuple[str, str]]) -> None:
    window = Window(
        [None] * len(rows), [None] * len(rows), CsvRows([[]] * len(rows), [None] * len(rows), ";"), {}, None
    )
    writer = CsvWriter((), ("a", "b"))
    content = writer.header() + writer.encode(window, {"a": [row[0] for row in rows], "b": [row[1] for row in rows]})
    assert [tuple(row) for window in read(content) for row in window.rows.records()] == rows


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_row_keeps_its_spelling(rows: list[tuple[str, str]], end: str, quoted: bool) -> None:
    buffer = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted or any("\r" in field for row in rows for field in row) else csv.QUOTE_MINIMAL
    csv.writer(buffer, lineterminator=end, quoting=quoting).writerows(rows)
    windows = read(b"a,b\n" + buffer.getvalue().encode())
    writer = CsvWriter(("a", "b"), ("n",))
    written = b"".join(writer.encode(window, {"n": [1] * len(window)}) for window in windows).decode()
    assert written == "".join(f"{line},1\n" for window in windows for line in window.rows.lines)  # type: ignore[attr-defined]
    again = list(csv.reader(io.StringIO(written, newline="")))
    assert again == [[*row, "1"] for row in rows]
