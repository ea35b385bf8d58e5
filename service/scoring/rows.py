"""Windows of rows, and the interfaces that every table format implements."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

WINDOW_ROWS = 1024
"""Default rows per window: the unit of sorting, writing and resuming."""

WINDOW_CHARACTERS = 1 << 24
"""A window ends when it reaches this many characters, to bound its memory."""

MAX_ROW_BYTES = 1 << 24
"""Maximum bytes of a CSV or JSON Lines row."""

Mark = dict[str, int | str]
"""A position between two rows, in plain values for the journal."""


class Rows(Protocol):
    """The columns of some rows, as they were read."""

    def records(self) -> Iterable[Sequence[Any]]:
        """Return the values of each row, in the order of the reader's `names`."""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that are classified and written together.

    Attributes:
        texts: the text of each row; None if it has a fault.
        faults: why a row cannot be classified; None if it can.
        rows: all columns of these rows.
        mark: the position after the last row.
        fraction: of the input read so far, from 0 to 1; None if unknown.
    """

    texts: Sequence[str | None]
    faults: Sequence[str | None]
    rows: Rows
    mark: Mark
    fraction: float | None

    def __len__(self) -> int:
        return len(self.texts)


class Reader(Protocol):
    """Reads a table from beginning to end."""

    names: tuple[str, ...] | None
    """The columns, in order; None if rows may have different ones."""

    @property
    def fraction(self) -> float | None:
        """Fraction read, from 0 to 1; None if unknown."""

    def fingerprint(self) -> Mark:
        """Identify the table before any row is read."""

    def go_to(self, mark: Mark) -> None:
        """Skip the rows before `mark` of an earlier run. Called before any row is read.

        Raises:
            ScoreError: the skipped rows have changed.
        """

    def windows(self) -> Iterator[Window]:
        """Yield the rows, in order. Windows do not depend on where reading began.

        Raises:
            ScoreError: the rest of the table cannot be read.
        """

    def close(self) -> None:
        """Close the table."""


class Writer(Protocol):
    """Encodes a table window by window, and assembles it from the bytes."""

    def header(self) -> bytes:
        """Return the bytes before the first row."""

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """Encode the rows of a window with the `added` columns, each a list of one value per row."""

    def assemble(self, partial: Path) -> Path:
        """Make the table from the bytes in `partial`. Returns its file, which may be `partial` itself."""


def text_fault(value: Any) -> str | None:
    """Say why a value cannot be classified; None if it can."""
    if isinstance(value, str):
        return None if value and not value.isspace() else "Expected a text. Received an empty one."
    return f"Expected a text. Received {_shown(value)}."


def _shown(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value!r}"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"
