"""Which format a table has, and what reads and writes it."""

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
    """A file by its name, or a standard stream.

    Attributes:
        path: the file; None: standard input or output.
        kind: its format.
        gzipped: whether its bytes are compressed as a whole.
    """

    path: Path | None
    kind: Kind
    gzipped: bool = False


def table_at(given: str, stream_kind: Kind) -> Table:
    """The table that an argument names; `-` is a standard stream of `stream_kind`.

    Raises:
        ScoreError: its name ends like none of the formats.
    """
    if given == "-":
        return Table(None, stream_kind)
    path = Path(given)
    gzipped = path.suffix == ".gz"
    kind = _KINDS.get(path.with_suffix("").suffix if gzipped else path.suffix)
    if kind is None or (kind == "parquet" and gzipped):
        raise ScoreError(
            f"{given}: expected a name that ends in {', '.join(_KINDS)}; all but .parquet also with .gz behind it. "
            f"Received {path.name!r}."
        )
    return Table(path, kind, gzipped)


def open_reader(table: Table, column: str, to: Table, window_rows: int) -> Reader:
    """What reads `table`, at its beginning.

    Args:
        table: the input.
        column: the column of texts.
        window_rows: rows in a window, at most.
        to: the output: a CSV or Parquet file wants the names of all columns beforehand.

    Raises:
        ScoreError: it cannot be read, or has no such column.
    """
    if table.kind == "parquet":
        assert table.path is not None
        return _parquet().ParquetReader(table.path, column, window_rows)
    if table.kind == "jsonl" and table.path is None and to.kind != "jsonl":
        raise ScoreError(
            f"Expected -o with a name that ends in .jsonl: the columns of {to.kind} are not known before all of "
            "standard input is read. Write it to a file and give its name."
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
    """The names in a whole JSON Lines file, with the types of their values.

    Raises:
        ScoreError: it cannot be read, or `column` is not among them.
    """
    with closing(Source(path)) as source:
        types = survey(source)
    if column not in types:
        raise ScoreError(f"{path}: expected rows with {column!r} (--column). Received {list(types)}.")
    return types


def open_writer(table: Table, reader: Reader, added: Added) -> Writer:
    """What writes rows of `reader` and the `added` columns as `table`.

    Raises:
        ScoreError: a row has one of the added columns already.
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
    """The module that needs pyarrow.

    Raises:
        ScoreError: there is no pyarrow.
    """
    try:
        return importlib.import_module("service.scoring.parquet_table")
    except ModuleNotFoundError as error:
        raise ScoreError(
            f"Expected the package {error.name}, which reads and writes Parquet. There is none here. "
            "Install the extra: pip install './heed[cpu,parquet]', or pip install pyarrow"
        ) from error
