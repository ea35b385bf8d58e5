"""Reads a table whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.tables.columns import Chosen
from models.tables.rows import Reader, Window
from models.tables.table import Spelling, open_reader, table_at


@dataclass
class Read:
    reader: Reader
    windows: list[Window]

    @property
    def texts(self) -> list[str | None]:
        return [text for window in self.windows for text in window.texts]

    @property
    def labels(self) -> list[str | None]:
        return [label for window in self.windows for label in window.labels]

    @property
    def faults(self) -> list[str | None]:
        return [fault for window in self.windows for fault in window.faults]

    @property
    def lines(self) -> list[int]:
        return [line for window in self.windows for line in window.lines]

    @property
    def warnings(self) -> list[str]:
        return list(self.reader.warnings)


def read(path: Path, content: bytes, column: str = "text", label: str | None = None, **spelling: Any) -> Read:
    """Write `content` to `path` and read it as a table."""
    path.write_bytes(content)
    labels = None if label is None else Chosen(label, "--label-column")
    reader = open_reader(table_at(str(path)), Chosen(column, "--column"), labels, spelling=Spelling(**spelling))
    try:
        return Read(reader, list(reader.windows()))
    finally:
        reader.close()
