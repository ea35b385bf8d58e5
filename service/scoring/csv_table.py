"""CSV as spreadsheets and pandas write it: UTF-8, a header, quotes where needed."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.scoring.errors import ScoreError
from service.scoring.rows import MAX_ROW_BYTES, WINDOW_CHARACTERS, Mark, Window, text_fault
from service.scoring.streams import Source

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class CsvRows:
    """Rows with as many fields as there are names.

    Attributes:
        fields: of each row.
        lines: each row as in the file, without its line end; None if it has missing or extra fields.
        delimiter: between fields.
    """

    fields: list[list[str]]
    lines: list[str | None]
    delimiter: str

    def records(self) -> list[list[str]]:
        """Return the fields of each row."""
        return self.fields


class CsvReader:
    """Reads CSV row by row. Quoted fields may span lines; empty lines are skipped.

    Args:
        source: the bytes, at their beginning.
        column: name of the text column.
        window_rows: maximum rows in a window.
        delimiter: between fields.

    Raises:
        ScoreError: the header lacks the column, or repeats a name.
    """

    def __init__(self, source: Source, column: str, window_rows: int, delimiter: str = ",") -> None:
        self._source = source
        self._delimiter = delimiter
        self._line: list[str] = []
        self._window_rows = window_rows
        self._undecodable = False
        self._started_at = 1
        self._began = 0
        self._ended = False
        csv.field_size_limit(2 * MAX_ROW_BYTES)  # `_lines` enforces our limit; the module's must not be lower
        self._rows = csv.reader(self._lines(), delimiter=delimiter)
        header = self._next_row()
        if header is None:
            raise ScoreError(f"{source.name}: expected a line of column names. The input is empty.")
        if self._undecodable:
            raise ScoreError(f"{source.name}: expected CSV in UTF-8. The header is in another encoding.")
        names = [header[0].removeprefix(_BOM), *header[1:]]
        if column not in names:
            raise ScoreError(f"{source.name}: expected a column {column!r} (--column). Received columns {names}.")
        if len(set(names)) != len(names):
            raise ScoreError(f"{source.name}: expected different column names. Received {names}.")
        self.names: tuple[str, ...] | None = tuple(names)
        self._width = len(names)
        self._text = names.index(column)

    @property
    def fraction(self) -> float | None:
        """Fraction of the bytes that is read."""
        return self._source.fraction

    def fingerprint(self) -> Mark:
        """Nothing: the marks hold a hash of the bytes."""
        return {}

    def go_to(self, mark: Mark) -> None:
        """Skip the rows before `mark`.

        Raises:
            ScoreError: they have changed.
        """
        self._source.go_to(mark)

    def windows(self) -> Iterator[Window]:
        """Yield the rows, in order.

        Raises:
            ScoreError: a quoted field does not end, or the bytes cannot be read.
        """
        fields: list[list[str]] = []
        lines: list[str | None] = []
        faults: list[str | None] = []
        characters = 0
        while (row := self._next_row()) is not None:
            if not row:
                continue
            fault = self._fault(row)
            lines.append("".join(self._line).rstrip("\r\n") if len(row) == self._width else None)
            if len(row) != self._width:
                row = (row + [""] * self._width)[: self._width]
            fields.append(row)
            faults.append(fault)
            characters += sum(map(len, row))
            if len(fields) == self._window_rows or characters >= WINDOW_CHARACTERS:
                yield self._window(fields, lines, faults)
                fields, lines, faults, characters = [], [], [], 0
        if fields:
            yield self._window(fields, lines, faults)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _window(self, fields: list[list[str]], lines: list[str | None], faults: list[str | None]) -> Window:
        texts = [None if fault else row[self._text] for row, fault in zip(fields, faults, strict=True)]
        return Window(
            texts, faults, CsvRows(fields, lines, self._delimiter), self._source.mark(), self._source.fraction
        )

    def _fault(self, row: Sequence[str]) -> str | None:
        if self._undecodable:
            return f"Expected UTF-8. Received other bytes at line {self._started_at}, replaced by \ufffd."
        if len(row) != self._width:
            return f"Expected {self._width} fields, one per name. Received {len(row)} at line {self._started_at}."
        return text_fault(row[self._text])

    def _next_row(self) -> list[str] | None:
        self._undecodable = False
        self._line.clear()
        self._started_at = self._source.lines + 1
        self._began = self._source.position
        try:
            row = next(self._rows, None)
        except csv.Error as error:
            raise ScoreError(f"{self._source.name}: cannot be read at line {self._started_at}: {error}.") from error
        if row is not None and self._ended:
            raise self._unending()
        return row

    def _lines(self) -> Iterator[str]:
        while line := self._source.line(MAX_ROW_BYTES):
            if self._source.position - self._began >= MAX_ROW_BYTES:
                raise self._unending()
            try:
                decoded = line.decode()
            except UnicodeDecodeError:
                self._undecodable = True
                decoded = line.decode(errors="replace")
            self._line.append(decoded)
            yield decoded
        self._ended = True

    def _unending(self) -> ScoreError:
        return ScoreError(
            f"{self._source.name}: expected rows of at most {MAX_ROW_BYTES:,} bytes with closed quotes. "
            f"Received a longer one at line {self._started_at:,}: fix its quotes."
        )


class CsvWriter:
    """Writes CSV in UTF-8. A row that was CSV keeps its spelling, with fields appended.

    None becomes an empty field, a boolean `true` or `false`, and nested values JSON.

    Args:
        names: the input's columns.
        added: the added columns.
        delimiter: between fields.
    """

    def __init__(self, names: Sequence[str], added: Sequence[str], delimiter: str = ",") -> None:
        self._names = (*names, *added)
        self._delimiter = delimiter
        self._buffer = io.StringIO()
        self._plain = csv.writer(self._buffer, delimiter=delimiter, lineterminator="\n")
        # The module leaves a lone carriage return unquoted, and cannot read it back.
        self._quoted = csv.writer(self._buffer, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def header(self) -> bytes:
        """Encode the names."""
        self._write(self._names)
        return self._flush()

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """Encode each row as a line, or several if a field holds line breaks."""
        columns = (map(cell, column) for column in added.values())
        lines: Sequence[str | None] = [None] * len(window)
        if isinstance(window.rows, CsvRows) and window.rows.delimiter == self._delimiter:
            lines = window.rows.lines
        for line, own, more in zip(lines, window.rows.records(), zip(*columns, strict=True), strict=True):
            if line is None:
                self._write([*map(cell, own), *more])
            else:
                self._buffer.write(line + self._delimiter)
                self._write(more)
        return self._flush()

    def assemble(self, partial: Path) -> Path:
        """Return the file: its bytes are the table."""
        return partial

    def _write(self, row: Sequence[str]) -> None:
        (self._quoted if "\r" in "".join(row) else self._plain).writerow(row)

    def _flush(self) -> bytes:
        content = self._buffer.getvalue().encode(errors="replace")
        self._buffer.seek(0)
        self._buffer.truncate()
        return content


def cell(value: Any) -> str:
    """Format a value as a CSV field."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            shown = orjson.dumps(value, default=str)
            return orjson.loads(shown) if shown.startswith(b'"') else shown.decode()
