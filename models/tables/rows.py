"""The contract of every format: windows of rows, each row with its text or the reason why it has none."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from models.tables.columns import Chosen
from models.tables.errors import TableError
from models.tables.source import Mark, Source

WINDOW_ROWS = 1024
"""Rows in a window, unless the caller says otherwise."""

WINDOW_CHARACTERS = 1 << 24
"""Bytes in a window, its last row aside. It bounds the memory that long texts take."""

MAX_ROW_BYTES = 1 << 24
"""Bytes of one row of a text format."""

_WARNINGS = 5


class Number(str):
    """A JSON number, or NaN, as it is written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a text format.

    Attributes:
        line: where it begins, counted from 1.
        values: its fields in the order of the names, or by name where each row has names of its own.
        raw: the row as it stands in the file, without its line end; None if it must be written anew.
        fault: why the row cannot be used; None if it can.
    """

    line: int
    values: Any
    raw: str | None = None
    fault: str | None = None


class Rows(Protocol):
    """All columns of a window's rows."""

    def records(self) -> Iterable[Sequence[Any]]:
        """Return the values of each row, in the order of the reader's `names`."""


@dataclass(frozen=True, slots=True)
class TextRows:
    """Rows of a text format.

    Attributes:
        rows: the rows.
        dialect: names how `raw` is spelled. A writer of the same dialect may copy it.
        names: of the columns; empty if each row has its own.
    """

    rows: list[Row]
    dialect: str
    names: tuple[str, ...]

    def records(self) -> Iterator[Sequence[Any]]:
        """Return the values of each row; None for a name that it does not have."""
        for row in self.rows:
            yield [row.values.get(name) for name in self.names] if isinstance(row.values, dict) else row.values


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that are used and written together.

    Attributes:
        texts: the text of each row; None for a row with a fault.
        labels: the label of each row, untrimmed; empty if no column of labels was chosen.
        faults: why a row cannot be used; None where it can.
        lines: where each row begins; in Parquet the number of the row, from 1.
        rows: all columns of these rows.
        mark: the place after the last row.
        fraction: how much of the input has been read, from 0 to 1; None if unknown.
    """

    texts: Sequence[str | None]
    labels: Sequence[str | None]
    faults: Sequence[str | None]
    lines: Sequence[int]
    rows: Rows
    mark: Mark
    fraction: float | None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def first(self) -> int:
        """How many rows of the table come before this window."""
        return int(self.mark["rows"]) - len(self)


class Reader(Protocol):
    """Reads a table from beginning to end."""

    names: tuple[str, ...] | None
    """The columns, in order; None if each row may have its own."""
    warnings: deque[str]
    """Warnings about the rows read so far; show one and remove it."""
    identity: dict[str, Any]
    """The options and facts that two runs must have in common to read the same windows."""

    @property
    def fraction(self) -> float | None:
        """How much has been read, from 0 to 1; None if unknown."""

    def go_to(self, mark: Mark) -> None:
        """Skip the rows before `mark`, which an earlier run made. Call it before any row is read.

        Raises:
            TableError: the table before that place has changed.
        """

    def windows(self) -> Iterator[Window]:
        """Yield the rows in order. The same table gives the same windows, wherever reading began.

        Raises:
            TableError: the table cannot be read any further.
        """

    def close(self) -> None:
        """Close the file."""


class Writer(Protocol):
    """Encodes a table window by window, and makes a file of the bytes."""

    def header(self) -> bytes:
        """Return what stands before the first row."""

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """Return the rows of a window with the `added` columns, each a list of one value a row."""

    def footer(self) -> bytes:
        """Return what stands behind the last row."""

    def assemble(self, partial: Path) -> Path:
        """Make the table of the bytes in `partial` and return its file, which may be `partial` itself."""


class TextReader(ABC):
    """Groups the rows of a text format into windows. A subclass yields the rows.

    Args:
        source: the lines.
        text: the column of texts.
        label: the column of labels, if any.
        window_rows: rows in a window, at most.
    """

    names: tuple[str, ...] | None = None
    dialect = ""

    def __init__(self, source: Source, text: Chosen, label: Chosen | None, window_rows: int) -> None:
        self.warnings: deque[str] = deque()
        self.identity: dict[str, Any] = {}
        self._source = source
        self._text = text
        self._label = label
        self._window_rows = window_rows
        self._count = 0
        self._warned = 0
        self._rows = self._read_rows()

    @property
    def fraction(self) -> float | None:
        """How much of the bytes has been read."""
        return self._source.fraction

    @abstractmethod
    def _read_rows(self) -> Iterator[Row]:
        """Yield the rows in order."""

    @abstractmethod
    def _value(self, row: Row, column: Chosen) -> Any:
        """Return the value of a row in a column; None if absent."""

    def go_to(self, mark: Mark) -> None:
        """Read on to `mark` and check that all before it is as it was.

        Raises:
            TableError: it has changed.
        """
        for _ in islice(self._rows, int(mark["rows"])):
            self._count += 1
        if self._mark() != mark:
            raise TableError(
                f"{self._source.name}: expected the input of the stopped run. Its first {int(mark['bytes']):,} bytes "
                "have changed since. Restore it, or start over with --force."
            )

    def windows(self) -> Iterator[Window]:
        """Yield the rows in order.

        Raises:
            TableError: the bytes cannot be read or have no rows in them.
        """
        rows: list[Row] = []
        began = self._source.position
        for row in self._rows:
            rows.append(row)
            if len(rows) == self._window_rows or self._source.position - began >= WINDOW_CHARACTERS:
                yield self._window(rows)
                rows, began = [], self._source.position
        if rows:
            yield self._window(rows)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _warn(self, message: str) -> None:
        """Keep the first few warnings of a file; more would only repeat them."""
        self._warned += 1
        if self._warned <= _WARNINGS:
            last = " Further ones are not told of." if self._warned == _WARNINGS else ""
            self.warnings.append(f"{self._source.name}: {message}{last}")

    def _mark(self) -> Mark:
        return {"rows": self._count, **self._source.mark()}

    def _window(self, rows: list[Row]) -> Window:
        self._count += len(rows)
        texts, labels, faults = [], [], []
        for row in rows:
            text = None if row.fault else self._value(row, self._text)
            fault = row.fault or text_fault(text)
            if self._label is not None:
                label = None if fault else self._value(row, self._label)
                fault = fault or label_fault(label)
                labels.append(None if fault else label_text(label))
            texts.append(None if fault else text)
            faults.append(fault)
        kept = TextRows(rows, self.dialect, self.names or ())
        return Window(texts, labels, faults, [row.line for row in rows], kept, self._mark(), self._source.fraction)


def text_fault(value: Any) -> str | None:
    """Say why a value is no text; None if it is one. An empty or absent one is missing; `NA` or `null` is a text."""
    if not isinstance(value, str) or isinstance(value, Number):
        return f"Expected a text. Received {_shown(value)}."
    if not value or value.isspace():
        return "Expected a text. Received an empty one."
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "Expected a text of whole characters. Received half a surrogate pair."
    return None


def label_fault(value: Any) -> str | None:
    """Say why a value is no label; None if it is one. It may be a number or a truth value, but not empty or nested."""
    if isinstance(value, str) and not value.strip():
        return "Expected a label. Received an empty one."
    if value is None or isinstance(value, (list, dict, bytes)):
        return f"Expected a label. Received {_shown(value)}."
    return None


def label_text(value: Any) -> str:
    """Return a label as it stands in the file."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int() | float() | Number():
            return f"the number {value}"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"
