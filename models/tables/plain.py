"""Read plain text, a text a line."""

from collections.abc import Iterator
from typing import Any

from models.tables.columns import Chosen
from models.tables.delimited import without_end
from models.tables.errors import TableError
from models.tables.rows import MAX_ROW_BYTES, Row, TextReader
from models.tables.source import Source


class PlainReader(TextReader):
    """Reads a text a line, as the only column. Blank lines are no rows."""

    def __init__(self, source: Source, text: Chosen, label: Chosen | None, window_rows: int) -> None:
        super().__init__(source, text, label, window_rows)
        self.names = (text.name,)
        if label is not None:
            raise TableError(
                f"{source.name}: expected texts with labels ({label.option}). A .txt file has texts alone."
            )

    def _read_rows(self) -> Iterator[Row]:
        while line := self._source.line(MAX_ROW_BYTES):
            if len(line) == MAX_ROW_BYTES:
                raise TableError(
                    f"{self._source.name}: expected lines of at most {MAX_ROW_BYTES:,} bytes. The one behind line "
                    f"{self._source.lines:,} is longer."
                )
            text, fault = self._source.decode(line)
            if text.strip():
                yield Row(self._source.lines, [without_end(text)], fault=fault)

    def _value(self, row: Row, column: Chosen) -> Any:
        return row.values[0]
