"""The format that a file's name means, and what reads and writes it."""

import gzip
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from models.tables.columns import Chosen
from models.tables.delimited import DelimitedReader
from models.tables.delimited_writer import DelimitedWriter
from models.tables.errors import TableError
from models.tables.json_rows import JsonReader, JsonWriter, survey
from models.tables.plain import PlainReader
from models.tables.rows import WINDOW_ROWS, Reader, Writer
from models.tables.source import Source, pyarrow_module

Kind = Literal["csv", "tsv", "txt", "jsonl", "json", "parquet"]

_KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
}
_COMPRESSIONS = (".gz", ".zst")
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_FOUND_OUT = (",", "\t", ";", "|")
_GZIP_LEVEL = 6

SUFFIXES = f"{', '.join(_KINDS)}, each also with .gz or .zst behind it"


@dataclass(frozen=True, slots=True)
class Table:
    """A file by its name, or a standard stream.

    Attributes:
        path: the file; None is standard input or output.
        kind: its format.
        compression: `.gz` or `.zst`, if it is written so. What is read is told by its content.
    """

    path: Path | None
    kind: Kind
    compression: str = ""

    @property
    def compress(self) -> Callable[[bytes], bytes] | None:
        """Return the function that compresses a part of the file, if it is compressed; the parts together are one file.

        Raises:
            TableError: pyarrow is not installed, which Zstandard needs.
        """
        if self.compression == ".gz":
            return lambda content: gzip.compress(content, _GZIP_LEVEL, mtime=0)  # no time: equal rows, equal bytes
        if self.compression == ".zst":
            codec = pyarrow_module("pyarrow").Codec("zstd")
            return lambda content: codec.compress(content, asbytes=True)
        return None


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a text format is spelled, where its name does not tell.

    Attributes:
        encoding: None is UTF-8, or what a byte order mark says.
        delimiter: between fields; None is what the line of names makes plain.
        quotes: whether quotes around fields mean anything.
    """

    encoding: str | None = None
    delimiter: str | None = None
    quotes: bool = True

    @classmethod
    def of_options(cls, encoding: str | None, delimiter: str | None, no_quotes: bool) -> Self:
        """Return what the options `--encoding`, `--delimiter` and `--no-quotes` say.

        Raises:
            TableError: the delimiter is not one character.
        """
        if delimiter is not None:
            delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n':
                raise TableError(f"--delimiter: expected one character, or tab. Received {delimiter!r}.")
        return cls(encoding, delimiter, not no_quotes)


AS_NAMED = Spelling()


def table_at(given: str, stream_kind: Kind = "jsonl") -> Table:
    """Return the table that an argument names; `-` is a standard stream of `stream_kind`.

    Raises:
        TableError: its name ends like none of the formats.
    """
    if given == "-":
        return Table(None, stream_kind)
    path = Path(given)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSIONS else ""
    kind = _KINDS.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise TableError(f"{given}: expected a name that ends in {SUFFIXES}. Received {path.name!r}.")
    return Table(path, kind, compression)


def open_reader(
    table: Table,
    text: Chosen,
    label: Chosen | None = None,
    *,
    spelling: Spelling = AS_NAMED,
    window_rows: int = WINDOW_ROWS,
    to: Table | None = None,
) -> Reader:
    """Open what reads `table`, at its beginning.

    Args:
        table: the input.
        text: the column of texts.
        label: the column of labels, if any.
        spelling: how a text format is spelled.
        window_rows: rows in a window, at most.
        to: the output, if any. A CSV or Parquet file needs the names of all columns beforehand.

    Raises:
        TableError: it cannot be read, or has no such column.
    """
    identity: dict[str, Any] = {
        text.option: text.name,
        "--window-rows": window_rows,
        "--encoding": spelling.encoding,
        "--delimiter": spelling.delimiter,
        "--no-quotes": not spelling.quotes,
        "input format": table.kind,
    }
    reader: Reader
    if table.kind == "parquet":
        assert table.path is not None
        reader = pyarrow_module("models.tables.parquet").ParquetReader(table.path, text, label, window_rows)
    else:
        reader = _open_text(table, text, label, spelling, window_rows, to)
    reader.identity |= identity
    return reader


def _open_text(
    table: Table, text: Chosen, label: Chosen | None, spelling: Spelling, window_rows: int, to: Table | None
) -> Reader:
    document = True if table.kind == "json" else None
    types = None
    if table.kind in ("json", "jsonl"):
        types = _types_in(table, text, label, spelling, to)
    with ExitStack() as closed_on_failure:
        source = closed_on_failure.enter_context(closing(Source(table.path, spelling.encoding)))
        reader: Reader
        if table.kind == "txt":
            reader = PlainReader(source, text, label, window_rows)
        elif table.kind in ("json", "jsonl"):
            reader = JsonReader(source, text, label, window_rows, document, types)
        else:
            default = _DELIMITERS[table.kind]
            delimiters = [default, *(each for each in _FOUND_OUT if each != default)]
            if spelling.delimiter is not None:
                delimiters = [spelling.delimiter]
            reader = DelimitedReader(source, text, label, window_rows, delimiters, spelling.quotes)
        closed_on_failure.pop_all()
    return reader


def _types_in(
    table: Table, text: Chosen, label: Chosen | None, spelling: Spelling, to: Table | None
) -> dict[str, set[str]] | None:
    """Return the names in a JSON file with the types of their values; None if each row may have its own.

    Raises:
        TableError: the file cannot be read, or a chosen column is not in it.
    """
    whole = to is not None  # reports a name that would be added twice before any row is scored
    if table.path is None:
        if to is not None and to.kind not in ("json", "jsonl"):
            raise TableError(
                "Expected -o with a name that ends in .jsonl: other formats need the names of all columns before the "
                "first row, and standard input is read only once. Write it to a file and give its name."
            )
        return None
    chosen = [text] if label is None else [text, label]
    with closing(Source(table.path, spelling.encoding)) as source:
        document = True if table.kind == "json" else None
        types = survey(JsonReader(source, text, label, WINDOW_ROWS, document), chosen, whole)
    for column in chosen:
        column.find(list(types), str(table.path))
    return types if whole else None


def open_writer(table: Table, reader: Reader, added: Mapping[str, Any]) -> Writer:
    """Open what writes rows of `reader` with the added columns as `table`.

    Args:
        table: the output.
        reader: what reads the rows.
        added: names of the added columns, each with its type: `str`, `float`, `bool` or a list of one dict of these.

    Raises:
        TableError: rows cannot be written so.
    """
    if table.kind == "txt":
        raise TableError(f"{table.path}: expected an output that holds columns, such as .csv or .jsonl. Received .txt.")
    if table.kind == "parquet":
        return pyarrow_module("models.tables.parquet").ParquetWriter(reader, added, table.compress)
    if table.kind in ("json", "jsonl"):
        return JsonWriter(reader.names, list(added), array=table.kind == "json")
    assert reader.names is not None
    delimiter = _DELIMITERS[table.kind]
    if isinstance(reader, DelimitedReader) and reader.identity["input format"] == table.kind:
        delimiter = reader.delimiter
    return DelimitedWriter(reader.names, list(added), delimiter)
