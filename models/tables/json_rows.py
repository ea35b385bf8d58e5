"""JSON Lines, an object a line; and one JSON document: an array of objects, or objects that each span lines."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from models.tables.columns import Chosen, distinct
from models.tables.errors import TableError
from models.tables.rows import MAX_ROW_BYTES, Number, Row, TextReader, TextRows, Window
from models.tables.source import Source

DIALECT = "JSON"

_BLOCK = 1 << 16
_DECODER = json.JSONDecoder(strict=False, parse_float=Number, parse_int=Number, parse_constant=Number)
_MEMBER = re.compile(r'\s*[{,]\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)
_SEPARATORS = re.compile(r"[\s,]*")
_CONTROL = re.compile(r"[\x00-\x1f]")
_STRING_OR_CONTROLS = re.compile(r'"(?:[^"\\]|\\.)*"|[\x00-\x1f]+', re.DOTALL)
_LARGEST = 2**63 - 1


class JsonReader(TextReader):
    """Reads objects: one a line, or one after the other in a document. Blank lines are no rows.

    Args:
        source: the bytes.
        text: the name of the texts.
        label: the name of the labels, if any.
        window_rows: rows in a window, at most.
        document: whether the input is one document; None if its beginning tells.
        types: all names that rows have with the types of their values, if the whole file has been looked through.
    """

    dialect = DIALECT

    def __init__(
        self,
        source: Source,
        text: Chosen,
        label: Chosen | None,
        window_rows: int,
        document: bool | None = None,
        types: dict[str, set[str]] | None = None,
    ) -> None:
        super().__init__(source, text, label, window_rows)
        self.types = types or {}
        self.names = None if types is None else tuple(types)
        self.identity = {"input": " ".join(map(repr, self.names or ()))}
        self._document = document

    def _value(self, row: Row, column: Chosen) -> Any:
        return row.values.get(column.name)

    def _read_rows(self) -> Iterator[Row]:
        line = self._next_line()
        if self._document is None and line is not None:
            self._document = re.match(rb"\s*(\[\s*(\{|\]?\s*$)|\{\s*$)", line) is not None
        if self._document:
            yield from self._read_document(line or b"")
            return
        while line is not None:
            yield self._row(line)
            line = self._next_line()

    def _next_line(self) -> bytes | None:
        """Return the next line that is not blank, or its first 16 MiB; None at the end."""
        while line := self._source.line(MAX_ROW_BYTES):
            if line.strip():
                return line
        return None

    def _row(self, line: bytes) -> Row:
        number = self._source.lines
        if len(line) == MAX_ROW_BYTES and not self._document:
            while line and not line.endswith((b"\n", b"\r")):
                line = self._source.line(MAX_ROW_BYTES)
            number = self._source.lines
            return Row(number, {}, fault=f"Expected at most {MAX_ROW_BYTES:,} bytes. Received more, at line {number}.")
        text, fault = self._source.decode(line)
        text = text.strip()
        try:
            values = _DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            reason = fault or f"Expected JSON. Received something else, at line {number}: {error}."
            return Row(number, _first_members(text), fault=reason)
        if not isinstance(values, dict):
            return Row(number, {}, fault=f"Expected a JSON object. Received other JSON, at line {number}.")
        return Row(number, values, None if fault else text, fault)

    def _read_document(self, first: bytes) -> Iterator[Row]:
        """Yield the objects of an array, or those that follow one another."""
        decoder = self._source.incremental_decoder()
        line, text, at = max(self._source.lines, 1), "", 0
        pending, ended, array = first, False, False
        try:
            while True:
                found = _SEPARATORS.match(text, at)
                assert found is not None
                line += text.count("\n", at, found.end())
                at = found.end()
                if at == len(text) and ended:
                    if array:
                        raise ValueError("the array does not end")
                    return
                if at < len(text):
                    if text[at] == ("]" if array else "["):
                        array, at = not array, at + 1
                        continue
                    try:
                        value, end = _DECODER.raw_decode(text, at)
                    except ValueError:
                        if ended or len(text) - at > MAX_ROW_BYTES:
                            raise
                    else:
                        if end < len(text) or ended or isinstance(value, (dict, list)):
                            yield self._document_row(value, text[at:end], line)
                            line += text.count("\n", at, end)
                            at = end
                            continue
                block = pending or self._source.block(max(_BLOCK, len(text) - at))
                pending, ended = b"", not block
                text, at = text[at:] + decoder.decode(block, ended), 0
        except UnicodeDecodeError as error:
            raise TableError(
                f"{self._source.name}: expected {self._source.encoding} from line {line:,} on. {error}."
            ) from error
        except (ValueError, RecursionError) as error:
            raise TableError(
                f"{self._source.name}: expected JSON from line {line:,} on. Received something else: {error}."
            ) from error

    def _document_row(self, value: Any, raw: str, line: int) -> Row:
        if isinstance(value, dict):
            return Row(line, value, raw)
        return Row(line, {}, fault=f"Expected a JSON object. Received other JSON, at line {line}.")


def _first_members(text: str) -> dict[str, Any]:
    """Return the members of a broken object before the place where it breaks, such as its id."""
    members: dict[str, Any] = {}
    at = 0
    while found := _MEMBER.match(text, at):
        try:
            value, at = _DECODER.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            break
        if isinstance(value, Number) and not text[at : at + 1].strip():
            break  # it may go on
        members[_DECODER.decode(found[1])] = value
    return members


class JsonWriter:
    """Writes objects: what the row had, as it stands in the file if that was JSON too, and the added values.

    Args:
        names: the columns that rows have of their own; None if they come as JSON objects.
        added: those that are added to them.
        array: whether to write an array in place of an object a line.
    """

    def __init__(self, names: Sequence[str] | None, added: Sequence[str], array: bool = False) -> None:
        self._names = None if names is None else distinct(names)
        self._added = tuple(added)
        self._array = array

    def header(self) -> bytes:
        """Return the beginning of the array."""
        return b"[" if self._array else b""

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """Return an object for each row.

        Raises:
            TableError: a row has a value of its own under an added name.
        """
        extras = (dict(zip(added, values, strict=True)) for values in zip(*added.values(), strict=True))
        if isinstance(window.rows, TextRows) and window.rows.dialect == DIALECT:
            objects = (self._extended(row, more) for row, more in zip(window.rows.rows, extras, strict=True))
        else:
            assert self._names is not None
            own = (dict(zip(self._names, values, strict=True)) for values in window.rows.records())
            objects = (orjson.dumps(row | more, default=str) for row, more in zip(own, extras, strict=True))
        if not self._array:
            return b"".join(each + b"\n" for each in objects)
        return b"".join((b"\n" if window.first + i == 0 else b",\n") + each for i, each in enumerate(objects))

    def footer(self) -> bytes:
        """Return the end of the array."""
        return b"\n]\n" if self._array else b""

    def assemble(self, partial: Path) -> Path:
        """Return `partial`: the bytes are the table."""
        return partial

    def _extended(self, row: Row, more: dict[str, Any]) -> bytes:
        if taken := [name for name in self._added if name in row.values]:
            raise TableError(f"Expected rows without {taken}, which would be added. Give --prefix another name.")
        return _joined(dumps(row.values) if row.raw is None else _on_one_line(row.raw), bool(row.values), more)


def _joined(own: str, filled: bool, more: dict[str, Any]) -> bytes:
    """Return one object of the members of two."""
    added = orjson.dumps(more, default=str)
    return own[:-1].rstrip().encode(errors="replace") + (b"," if filled else b"") + added[1:]


def _on_one_line(raw: str) -> str:
    """Return JSON without line breaks or bare control characters."""
    if not _CONTROL.search(raw):
        return raw

    def replaced(found: re.Match[str]) -> str:
        if not found[0].startswith('"'):
            return " "
        return _CONTROL.sub(lambda control: f"\\u{ord(control[0]):04x}", found[0])

    return _STRING_OR_CONTROLS.sub(replaced, raw)


def dumps(value: Any) -> str:
    """Return a value as JSON, with numbers as they were written."""
    match value:
        case Number():
            return str(value)
        case dict():
            return (
                "{" + ",".join(f"{json.dumps(str(k), ensure_ascii=False)}:{dumps(v)}" for k, v in value.items()) + "}"
            )
        case list() | tuple():
            return "[" + ",".join(map(dumps, value)) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return orjson.dumps(value, default=str).decode()


def survey(reader: JsonReader, chosen: Sequence[Chosen], whole: bool) -> dict[str, set[str]]:
    """Return the names in the rows, in order of their first appearance, each with the types of its values.

    Args:
        reader: at the beginning of its input.
        chosen: the columns that must be there.
        whole: whether to look at all rows, or only until all the chosen columns were found.

    Raises:
        TableError: the bytes cannot be read.
    """
    found: dict[str, set[str]] = {}
    for window in reader.windows():
        assert isinstance(window.rows, TextRows)
        for row in window.rows.rows:
            for name, value in row.values.items():
                found.setdefault(name, set()).add(_type_of(value))
        if not whole and all(column.name in found for column in chosen):
            break
    return found


def _type_of(value: Any) -> str:
    """Name the JSON type; a whole number that 64 bits do not hold is `large`."""
    if not isinstance(value, Number):
        return type(value).__name__
    if not value.lstrip("-").isdigit():
        return "float"
    return "int" if len(value) < 19 or abs(int(value)) <= _LARGEST else "large"
