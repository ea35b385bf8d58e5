"""Write CSV and TSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.tables.delimited import dialect_of
from models.tables.json_rows import dumps
from models.tables.rows import Number, TextRows, Window


class DelimitedWriter:
    """Writes CSV in UTF-8.

    Of values that are no text, None becomes an empty field, a truth value `true` or `false`, and a nested one JSON.

    Args:
        names: the columns that rows have of their own.
        added: those that are added to them.
        delimiter: what stands between fields.
    """

    def __init__(self, names: Sequence[str], added: Sequence[str], delimiter: str = ",") -> None:
        self._names = (*names, *added)
        self._delimiter = delimiter
        self._buffer = io.StringIO()
        self._plain = csv.writer(self._buffer, delimiter=delimiter, lineterminator="\n")
        # The module leaves a lone carriage return unquoted, which other readers take for the end of a line.
        self._quoted = csv.writer(self._buffer, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def header(self) -> bytes:
        """Return the line of names."""
        self._write(self._names)
        return self._flush()

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """Return a line for each row; more where a field holds line breaks."""
        columns = (map(cell, column) for column in added.values())
        raws: Sequence[str | None] = [None] * len(window)
        if isinstance(window.rows, TextRows) and window.rows.dialect == dialect_of(self._delimiter):
            raws = [row.raw for row in window.rows.rows]
        for raw, own, more in zip(raws, window.rows.records(), zip(*columns, strict=True), strict=True):
            if raw is None:
                self._write([*map(cell, own), *more])
            else:
                self._buffer.write(raw + self._delimiter)
                self._write(more)
        return self._flush()

    def footer(self) -> bytes:
        """Return nothing."""
        return b""

    def assemble(self, partial: Path) -> Path:
        """Return `partial`: the bytes are the table."""
        return partial

    def _write(self, row: Sequence[str]) -> None:
        (self._quoted if "\r" in "".join(row) else self._plain).writerow(row)

    def _flush(self) -> bytes:
        content = self._buffer.getvalue().encode(errors="replace")
        self._buffer.seek(0)
        self._buffer.truncate()
        return content


def cell(value: Any) -> str:
    """Return a value as the field of a delimited row."""
    match value:
        case Number():
            return str(value)
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            shown = dumps(value)
            return str(value) if shown.startswith('"') else shown
