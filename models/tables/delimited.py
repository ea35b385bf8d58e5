"""Read CSV and TSV, as spreadsheets and pandas write them.

A quote opens a field only where the field begins, and two of them inside stand for one. A row that reads so keeps its
spelling when it is written again, with the added fields behind it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from models.tables.columns import Chosen
from models.tables.errors import TableError
from models.tables.rows import MAX_ROW_BYTES, Row, TextReader
from models.tables.source import Source

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


class DelimitedReader(TextReader):
    """Reads rows of fields; quoted ones may span lines. Empty lines are no rows.

    Args:
        source: the lines.
        text: the column of texts.
        label: the column of labels, if any.
        window_rows: rows in a window, at most.
        delimiters: what may stand between fields. The first whose line of names has the chosen columns is taken.
        quotes: whether quotes mean anything.

    Raises:
        TableError: the line of names has no such column or repeats it, or cannot be read.
    """

    def __init__(
        self,
        source: Source,
        text: Chosen,
        label: Chosen | None,
        window_rows: int,
        delimiters: Sequence[str],
        quotes: bool = True,
    ) -> None:
        super().__init__(source, text, label, window_rows)
        self._quotes = quotes
        self._chosen = [text] if label is None else [text, label]
        self._began = self._opened_at = 0
        self._escaped = False
        self._fault: str | None = None
        self.delimiter, names = self._read_names(delimiters)
        self.dialect = dialect_of(self.delimiter)
        self._width = len(names)
        self.names = tuple(names)
        self._places = {column: column.find(names, source.name) for column in self._chosen}

    def _read_names(self, delimiters: Sequence[str]) -> tuple[str, list[str]]:
        """Return the delimiter and the names."""
        line = self._next_line()
        if line is not None and (found := _SEPARATOR_LINE.fullmatch(line.rstrip("\r\n"))):
            delimiters = [found[1]]
            line = self._next_line()
        if line is None:
            raise TableError(f"{self._source.name}: expected a line of column names. The input is empty.")
        names, raw = self._fields(line, delimiters[0])
        if self._fault is not None:
            raise TableError(f"{self._source.name}: the line of names cannot be read. {self._fault}")
        if "\0" in raw:
            raise TableError(
                f"{self._source.name}: expected a line of column names. Received one with NUL characters, as of UTF-16 "
                "without a byte order mark: --encoding utf-16-le, or utf-16-be."
            )
        found_names = {delimiters[0]: names}
        for delimiter in delimiters[1:]:
            found_names[delimiter] = split_fields(raw, delimiter)[0] if self._quotes else raw.split(delimiter)
        whole = (each for each in found_names.items() if all(column.name in each[1] for column in self._chosen))
        return next(whole, max(found_names.items(), key=lambda each: len(each[1])))

    def _read_rows(self) -> Iterator[Row]:
        width = self._width
        while (line := self._next_line()) is not None:
            began = self._source.lines
            fields, raw = self._fields(line, self.delimiter)
            fault: str | None = self._fault
            kept: str | None = raw
            if len(fields) > width and not any(fields[width:]):  # as spreadsheets leave behind
                fields, kept = fields[:width], None
            ragged = len(fields) != width
            if ragged:
                fault = fault or (
                    f"Expected {width} fields, as there are names. Received {len(fields)}, at line {began}."
                )
                fields, kept = (fields + [""] * width)[:width], None
            if self._source.lines > began:
                self._warn_of_swallowed(raw, ragged)
            if self._escaped or (not self._quotes and '"' in raw):
                kept = None
            yield Row(began, fields, kept, fault)

    def _value(self, row: Row, column: Chosen) -> Any:
        return row.values[self._places[column]]

    def _warn_of_swallowed(self, raw: str, ragged: bool) -> None:
        """Warn of a row whose every line looks like a row: a quote that nobody meant swallows what follows it."""
        lines = raw.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        like_rows = all(line.count(self.delimiter) == self._width - 1 for line in lines)
        # Prose has commas, so two lines with as many of them as a row has are no sign yet.
        if ragged or (self._width > 1 and like_rows and (self.delimiter != "," or len(lines) > 2)):
            self._warn(
                f"a quote at line {self._opened_at} opens a field that goes on over the following lines, to line "
                f"{self._source.lines}. If it is no quote, give --no-quotes; if it is, nothing is wrong."
            )

    def _next_line(self) -> str | None:
        """Return the next line that is not empty; None at the end."""
        self._escaped, self._fault = False, None
        while line := self._source.line(MAX_ROW_BYTES):
            self._began = self._source.position - len(line)
            if len(line) == MAX_ROW_BYTES:
                raise self._too_long()
            text = self._decoded(line)
            if text.rstrip("\r\n"):
                return text
        return None

    def _decoded(self, line: bytes) -> str:
        text, fault = self._source.decode(line)
        self._fault = self._fault or fault
        return text

    def _fields(self, line: str, delimiter: str) -> tuple[list[str], str]:
        """Return the fields of the row that begins with `line`, and the row as it stands, without its line end."""
        if not self._quotes or '"' not in line:
            body = without_end(line)
            return body.split(delimiter), body
        lines = [line]

        def more() -> str:
            if len(lines) == 1:
                self._opened_at = self._source.lines
            following = self._source.line(MAX_ROW_BYTES)
            if not following or self._source.position - self._began >= MAX_ROW_BYTES:
                raise self._unending() if not following else self._too_long()
            lines.append(self._decoded(following))
            return lines[-1]

        fields, self._escaped = split_fields(line, delimiter, more)
        return fields, without_end("".join(lines))

    def _unending(self) -> TableError:
        return TableError(
            f"{self._source.name}: expected a quoted field to end. The one that begins at line {self._opened_at:,} "
            "does not. Mend the quote there; if the file quotes no fields, give --no-quotes."
        )

    def _too_long(self) -> TableError:
        return TableError(
            f"{self._source.name}: expected a row of at most {MAX_ROW_BYTES:,} bytes whose quoted fields all end. The "
            f"one before line {self._source.lines:,} does not. Mend the quotes there; if the file quotes no fields, "
            "give --no-quotes."
        )


def split_fields(line: str, delimiter: str, more: Callable[[], str] | None = None) -> tuple[list[str], bool]:
    r"""Return the fields of a row, and whether it escapes quotes with backslashes.

    It does if `\"` stands in a quoted field before anything but a delimiter, a quote or the line's end. Where a closing
    quote is followed by anything else, the whole field is text as it stands.

    Args:
        line: the row's first line, with its end.
        delimiter: what stands between fields.
        more: returns the next line, for a quoted field that goes on there.
    """
    fields: list[str] = []
    escaped = False
    body = without_end(line)
    at = 0
    while True:
        if not body.startswith('"', at):
            end = body.find(delimiter, at)
            fields.append(body[at:] if end < 0 else body[at:end])
        else:
            parts: list[str] = []
            spelled: list[str] = []  # the lines of the field that lie behind
            opened = at
            at += 1
            while True:
                quote = body.find('"', at)
                if quote < 0:
                    if more is None:
                        quote = len(body)
                        parts.append(body[at:])
                        break
                    parts.append(line[at:])
                    spelled.append(line[opened:])
                    line = more()
                    body, at, opened = without_end(line), 0, 0
                    continue
                behind = body[quote + 1 : quote + 2]
                if quote > at and body[quote - 1] == "\\" and (escaped or behind not in ("", '"', delimiter)):
                    escaped = True
                    parts.append(body[at : quote - 1] + '"')
                    at = quote + 1
                elif behind == '"':
                    parts.append(body[at : quote + 1])
                    at = quote + 2
                else:
                    parts.append(body[at:quote])
                    break
            end = body.find(delimiter, quote + 1)
            tail = body[quote + 1 :] if end < 0 else body[quote + 1 : end]
            fields.append("".join([*spelled, body[opened : quote + 1], tail] if tail else parts))
        if end < 0:
            return fields, escaped
        at = end + 1


def without_end(line: str) -> str:
    """Return the line without its line feed, carriage return or both."""
    if line.endswith("\r\n"):
        return line[:-2]
    return line[:-1] if line.endswith(("\n", "\r")) else line


def dialect_of(delimiter: str) -> str:
    """Name the spelling of rows with this delimiter."""
    return f"delimited by {delimiter!r}"
