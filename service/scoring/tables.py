"""Table formats by name, and their readers and writers."""

import importlib
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.scoring.columns import Added
from service.scoring.csv_table import CsvReader, CsvWriter
from service.scoring.errors import ScoreError
from service.scoring.jsonl_table import JsonlReader, JsonlWriter, survey
from service.scoring.rows import Reader, Writer
from service.scoring.streams import Source

Kind = Literal["csv", "tsv", "jsonl", "parquet"]

_KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True, slots=True)
class Table:
    """A file or a standard stream.

    Attributes:
        path: the file; None for standard input or output.
        kind: its format.
        gzipped: whether it is gzip-compressed.
    """

    path: Path | None
    kind: Kind
    gzipped: bool = False


def table_at(given: str, stream_kind: Kind) -> Table:
    """Return the table that an argument names; `-` is a standard stream of `stream_kind`.

    Raises:
        ScoreError: the suffix is not that of a format.
    """
    if given == "-":
        return Table(None, stream_kind)
    path = Path(given)
    gzipped = path.suffix == ".gz"
    kind = _KINDS.get(path.with_suffix("").suffix if gzipped else path.suffix)
    if kind is None or (kind == "parquet" and gzipped):
        raise ScoreError(
            f"{given}: expected a name that ends in {', '.join(_KINDS)}, or any but .parquet with .gz. "
            f"Received {path.name!r}."
        )
    return Table(path, kind, gzipped)


def open_reader(table: Table, column: str, to: Table, window_rows: int) -> Reader:
    """Open `table` for reading.

    Args:
        table: the input.
        column: the text column.
        window_rows: maximum rows in a window.
        to: the output; CSV and Parquet need the names of all columns in advance.

    Raises:
        ScoreError: it cannot be read, or lacks the column.
    """
    if table.kind == "parquet":
        assert table.path is not None
        return _parquet().ParquetReader(table.path, column, window_rows)
    if table.kind == "jsonl" and table.path is None and to.kind != "jsonl":
        raise ScoreError(
            f"Expected an output that ends in .jsonl: the columns of {to.kind} are unknown until all of standard input "
            "is read. Save the input to a file first."
        )
    types = _types_in(table.path, column) if table.kind == "jsonl" and table.path is not None else None
    with ExitStack() as closed_on_failure:
        source = closed_on_failure.enter_context(closing(Source(table.path)))
        reader: Reader = (
            JsonlReader(source, column, window_rows, types)
            if table.kind == "jsonl"
            else CsvReader(source, column, window_rows, _DELIMITERS[table.kind])
        )
        closed_on_failure.pop_all()
    return reader


def _types_in(path: Path, column: str) -> dict[str, set[str]]:
    """Survey a JSON Lines file.

    Raises:
        ScoreError: it cannot be read, or lacks the column.
    """
    with closing(Source(path)) as source:
        types = survey(source)
    if column not in types:
        raise ScoreError(f"{path}: expected rows with {column!r} (--column). Received {list(types)}.")
    return types


def open_writer(table: Table, reader: Reader, added: Added) -> Writer:
    """Make the writer of the rows of `reader` and the `added` columns.

    Raises:
        ScoreError: the input already has one of the added columns.
    """
    if reader.names is not None:
        added.check(reader.names)
    if table.kind == "parquet":
        return _parquet().ParquetWriter(reader, added)
    if table.kind == "jsonl":
        return JsonlWriter(reader.names, added.names)
    assert reader.names is not None
    return CsvWriter(reader.names, added.names, _DELIMITERS[table.kind])


def _parquet() -> Any:
    """Import the module that needs pyarrow.

    Raises:
        ScoreError: pyarrow is not installed.
    """
    try:
        return importlib.import_module("service.scoring.parquet_table")
    except ModuleNotFoundError as error:
        raise ScoreError(
            f"Parquet needs the package {error.name}, which is not installed: "
            "pip install './heed[cpu,parquet]', or pip install pyarrow"
        ) from error
