"""JSON Lines: one object per line, in UTF-8."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.scoring.errors import ScoreError
from service.scoring.rows import MAX_ROW_BYTES, WINDOW_CHARACTERS, Mark, Window, text_fault
from service.scoring.streams import Source

_BOM = b"\xef\xbb\xbf"
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class JsonlRows:
    """Rows as in the file.

    Attributes:
        lines: the bytes of each object, without a line end; None if the line is not an object.
        objects: the parsed objects; empty if the line is not one.
        names: all names; empty if rows may have different ones.
    """

    lines: list[bytes | None]
    objects: list[dict[str, Any]]
    names: tuple[str, ...]

    def records(self) -> Iterator[list[Any]]:
        """Yield the values of each row; None for a missing name."""
        for values in self.objects:
            yield [values.get(name) for name in self.names]


class JsonlReader:
    """Reads one object per line. Blank lines are skipped.

    Args:
        source: the bytes, at their beginning.
        column: name of the texts.
        window_rows: maximum rows in a window.
        types: the result of `survey`, if the whole file was read before.
    """

    def __init__(self, source: Source, column: str, window_rows: int, types: dict[str, set[str]] | None = None) -> None:
        self.types = types or {}
        self.names = None if types is None else tuple(types)
        self._source = source
        self._window_rows = window_rows
        self._column = column

    @property
    def fraction(self) -> float | None:
        """Fraction of the bytes that is read."""
        return self._source.fraction

    def fingerprint(self) -> Mark:
        """Return the names found by a pass over the whole file."""
        return {} if self.names is None else {"names": " ".join(map(repr, self.names))}

    def go_to(self, mark: Mark) -> None:
        """Skip the rows before `mark`.

        Raises:
            ScoreError: they have changed.
        """
        self._source.go_to(mark)

    def windows(self) -> Iterator[Window]:
        """Yield the rows, in order.

        Raises:
            ScoreError: the bytes cannot be read.
        """
        lines: list[bytes | None] = []
        objects: list[dict[str, Any]] = []
        faults: list[str | None] = []
        characters = 0
        for line, values, fault in self._rows():
            lines.append(line)
            objects.append(values)
            faults.append(fault)
            characters += len(line or b"")
            if len(lines) == self._window_rows or characters >= WINDOW_CHARACTERS:
                yield self._window(lines, objects, faults)
                lines, objects, faults, characters = [], [], [], 0
        if lines:
            yield self._window(lines, objects, faults)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _window(self, lines: list[bytes | None], objects: list[dict[str, Any]], faults: list[str | None]) -> Window:
        texts = [None if fault else values[self._column] for values, fault in zip(objects, faults, strict=True)]
        rows = JsonlRows(lines, objects, self.names or ())
        return Window(texts, faults, rows, self._source.mark(), self._source.fraction)

    def _rows(self) -> Iterator[tuple[bytes | None, dict[str, Any], str | None]]:
        for line in json_lines(self._source):
            if line is None:
                fault = f"Expected at most {MAX_ROW_BYTES:,} bytes. Received more at line {self._source.lines}."
                yield None, {}, fault
                continue
            try:
                values = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield None, {}, f"Expected JSON in UTF-8. Received other bytes at line {self._source.lines}: {error}."
                continue
            if not isinstance(values, dict):
                yield None, {}, f"Expected a JSON object. Received other JSON at line {self._source.lines}."
            elif self._column not in values:
                yield line, values, f"Expected a value {self._column!r} (--column). Received {sorted(values)}."
            else:
                yield line, values, text_fault(values[self._column])


def json_lines(source: Source) -> Iterator[bytes | None]:
    """Yield the lines that are not blank, stripped; None for a line that is too long."""
    while line := source.line(MAX_ROW_BYTES):
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = source.line(MAX_ROW_BYTES)
            yield None
            continue
        stripped = (line.removeprefix(_BOM) if source.lines <= 1 else line).strip()
        if stripped:
            yield stripped


class JsonlWriter:
    """Writes one object per line: the row (byte for byte if it was JSON) with the added values.

    Args:
        names: the input's columns; None if rows are JSON objects.
        added: the added columns.
    """

    def __init__(self, names: Sequence[str] | None, added: Sequence[str]) -> None:
        self._names = names
        self._added = frozenset(added)

    def header(self) -> bytes:
        """Return nothing: JSON Lines has no header."""
        return b""

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """Encode each row as a line.

        Raises:
            ScoreError: a row already has one of the added names.
        """
        extras = (dict(zip(added, values, strict=True)) for values in zip(*added.values(), strict=True))
        if isinstance(window.rows, JsonlRows):
            return b"".join(self._spliced(window.rows, extras))
        assert self._names is not None
        return b"".join(
            _dumps(dict(zip(self._names, own, strict=True)) | more)
            for own, more in zip(window.rows.records(), extras, strict=True)
        )

    def assemble(self, partial: Path) -> Path:
        """Return the file: its bytes are the table."""
        return partial

    def _spliced(self, rows: JsonlRows, extras: Iterable[dict[str, Any]]) -> Iterator[bytes]:
        for line, values, more in zip(rows.lines, rows.objects, extras, strict=True):
            if not self._added.isdisjoint(values):
                taken = sorted(self._added & values.keys())
                raise ScoreError(f"Expected rows without the added names {taken}. Rename the added ones with --prefix.")
            shown = _dumps(more)
            yield shown if line is None else line[:-1].rstrip() + (b"," if values else b"") + shown[1:]


def _dumps(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE)


def survey(source: Source) -> dict[str, set[str]]:
    """Map the names in all rows, in order of appearance, to the JSON types of their values.

    Raises:
        ScoreError: the bytes cannot be read.
    """
    found: dict[str, set[str]] = {}
    for line in json_lines(source):
        try:
            values = orjson.loads(line or b"null")
        except orjson.JSONDecodeError:
            continue
        if isinstance(values, dict):
            for name, value in values.items():
                found.setdefault(name, set()).add(_type_of(value))
    return found


def _type_of(value: Any) -> str:
    """Name of the Python type; `large` for an integer that exceeds 64 bits."""
    return "large" if type(value) is int and value > _LARGEST else type(value).__name__
