"""What every format of table is read into: windows of rows, each row a text or the reason why it has none."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

WINDOW_ROWS = 1024
"""Rows in a window, unless the run says otherwise: what is sorted, written, and after a kill done again together."""

WINDOW_CHARACTERS = 1 << 24
"""Characters in a window, but for its last row, at most: long texts must not fill the memory."""

MAX_ROW_BYTES = 1 << 24
"""Bytes of one row of a CSV or JSONL file, at most."""

Mark = dict[str, int | str]
"""A place between two rows of a table, as its reader knows it again; of plain values, to be kept in a journal."""


class Rows(Protocol):
    """The columns of some rows, as they were read."""

    def records(self) -> Iterable[Sequence[Any]]:
        """The values of each row, in the order of the reader's `names`."""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that are classified and written together.

    Attributes:
        texts: the text of each row; None where `faults` says why there is none.
        faults: why a row cannot be classified; None where it can.
        rows: all columns of these rows.
        mark: the place after the last of them.
        fraction: how much of the input is read then, from 0 to 1; None where nobody knows.
    """

    texts: Sequence[str | None]
    faults: Sequence[str | None]
    rows: Rows
    mark: Mark
    fraction: float | None

    def __len__(self) -> int:
        return len(self.texts)


class Reader(Protocol):
    """A table that is read from the beginning to the end."""

    names: tuple[str, ...] | None
    """The columns, in order; None where every row may have its own."""

    @property
    def fraction(self) -> float | None:
        """How much is read, from 0 to 1; None where nobody knows."""

    def fingerprint(self) -> Mark:
        """What tells this table from another before a row of it is read."""

    def go_to(self, mark: Mark) -> None:
        """Skip the rows before `mark`, which an earlier run made; called before any row is read.

        Raises:
            ScoreError: the table before that place is not what it was.
        """

    def windows(self) -> Iterator[Window]:
        """The rows, in order. The same table gives the same windows, wherever reading began.

        Raises:
            ScoreError: the table cannot be read any further.
        """

    def close(self) -> None:
        """Read no more."""


class Writer(Protocol):
    """Gives the bytes of a table, window by window, and makes a table of the bytes."""

    def header(self) -> bytes:
        """What stands before the first row."""

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """The rows of a window with the `added` columns, each a list of one value a row."""

    def assemble(self, partial: Path) -> Path:
        """Make the table of the bytes in `partial`; its file, on disk, which may be that very one."""


def text_fault(value: Any) -> str | None:
    """Why a value of the text column cannot be classified; None where it may be."""
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
