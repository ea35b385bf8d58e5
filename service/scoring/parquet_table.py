"""Parquet, through pyarrow (the extra `parquet`). Columns keep their types.

A Parquet file ends with its index, so it cannot grow by windows. The partial output is one Arrow stream per window; the
Parquet file is made from them at the end.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from service.scoring.columns import Added
from service.scoring.csv_table import cell
from service.scoring.errors import ScoreError
from service.scoring.jsonl_table import JsonlReader
from service.scoring.rows import WINDOW_CHARACTERS, Mark, Reader, Window, text_fault

_BUFFER_BYTES = 1 << 20
_ROW_GROUP_ROWS = 1 << 16
_ROW_GROUP_BYTES = 1 << 26

_TOKEN = pa.struct(
    [
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("weight", pa.float64()),
        ("contribution", pa.float64()),
        ("known", pa.bool_()),
    ]
)
_ADDED_TYPES = {"text": pa.string(), "number": pa.float64(), "truth": pa.bool_(), "tokens": pa.list_(_TOKEN)}
_JSON_TYPES = (
    ({"bool"}, pa.bool_()),
    ({"int"}, pa.int64()),
    ({"int", "float"}, pa.float64()),
    ({"str"}, pa.string()),
)


@dataclass(frozen=True, slots=True)
class ArrowRows:
    """Rows as they were read.

    Attributes:
        batch: a pyarrow.RecordBatch.
    """

    batch: Any

    def records(self) -> Iterator[Sequence[Any]]:
        """Return the values of each row as Python objects."""
        return zip(*(_values(column) for column in self.batch.columns), strict=True)


class ParquetReader:
    """Reads a Parquet file in batches.

    Args:
        path: the file.
        column: name of the text column.
        window_rows: maximum rows in a window.

    Raises:
        ScoreError: it is not a Parquet file, or has no such column of strings.
    """

    def __init__(self, path: Path, column: str, window_rows: int) -> None:
        self._path = path
        self._window_rows = window_rows
        try:
            # No read-ahead: a row group may be larger than memory.
            self._file = pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        except (OSError, pa.ArrowException) as error:
            raise ScoreError(f"{path}: expected a Parquet file. {error}.") from error
        self.schema = self._file.schema_arrow
        self.names: tuple[str, ...] | None = tuple(self.schema.names)
        if self.schema.names.count(column) != 1:
            raise ScoreError(f"{path}: expected a column {column!r} (--column). Received columns {self.schema.names}.")
        self._text = self.schema.names.index(column)
        kind = self.schema.field(column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            raise ScoreError(f"{path}: expected strings in column {column!r}. Received a column of {kind}.")
        self._rows = self._file.metadata.num_rows
        self._read = 0

    @property
    def fraction(self) -> float | None:
        """Fraction of the rows that is read."""
        return self._read / self._rows if self._rows else None

    def fingerprint(self) -> Mark:
        """Return a hash of the footer, which locates and describes every column of every row group."""
        with self._path.open("rb") as stream:
            stream.seek(-8, os.SEEK_END)
            length = int.from_bytes(stream.read(4), "little")
            stream.seek(-8 - length, os.SEEK_END)
            return {"footer": hashlib.blake2b(stream.read(length), digest_size=16).hexdigest()}

    def go_to(self, mark: Mark) -> None:
        """Skip the rows before `mark`."""
        self._read = int(mark["rows"])

    def windows(self) -> Iterator[Window]:
        """Yield the rows, in order. No window crosses a row group, so that reading can begin at any of them.

        Raises:
            ScoreError: the file is damaged.
        """
        first = 0
        try:
            for group in range(self._file.num_row_groups):
                facts = self._file.metadata.row_group(group)
                after = first + facts.num_rows
                if after > self._read:
                    most = WINDOW_CHARACTERS * facts.num_rows // max(1, facts.total_byte_size)
                    for batch in self._file.iter_batches(min(max(1, most), self._window_rows), [group]):
                        first += batch.num_rows
                        if first > self._read:
                            self._read = first
                            yield self._window(batch)
                first = after
        except (OSError, pa.ArrowException) as error:
            raise ScoreError(f"{self._path}: cannot be read after row {self._read:,}: {error}.") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _window(self, batch: Any) -> Window:
        texts = _values(batch.column(self._text))
        faults = [text_fault(text) for text in texts]
        kept = [None if fault else text for text, fault in zip(texts, faults, strict=True)]
        return Window(kept, faults, ArrowRows(batch), {"rows": self._read}, self.fraction)


class ParquetWriter:
    """Writes Parquet. Columns of a Parquet file keep their types, those of CSV are strings, and those of JSON Lines
    have the type of their values, with nested or mixed values as JSON text.

    Args:
        reader: of the input's columns.
        added: the added columns.
    """

    def __init__(self, reader: Reader, added: Added) -> None:
        self._kept = reader.schema if isinstance(reader, ParquetReader) else _schema_of(reader)
        self._added = pa.schema([(added.prefix + name, _ADDED_TYPES[kind]) for name, kind in added.kinds.items()])
        self.schema = pa.schema([*self._kept, *self._added], metadata=self._kept.metadata)

    def header(self) -> bytes:
        """Return nothing: Parquet has no header."""
        return b""

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """Encode the window as an Arrow stream."""
        if isinstance(window.rows, ArrowRows):
            columns = window.rows.batch.columns
        else:
            values = zip(*window.rows.records(), strict=True)
            columns = [_column(each, field.type) for each, field in zip(values, self._kept, strict=True)]
        columns += [pa.array(added[field.name], field.type) for field in self._added]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
            stream.write_batch(pa.record_batch(columns, schema=self.schema))
        return sink.getvalue().to_pybytes()

    def assemble(self, partial: Path) -> Path:
        """Write the streams in `partial` as a Parquet file beside it."""
        place = partial.with_name(f"{partial.name}.joined")
        with pa.parquet.ParquetWriter(place, self.schema) as writer:
            group: list[Any] = []
            for batch in _batches(partial):
                group.append(batch)
                if (
                    sum(each.num_rows for each in group) >= _ROW_GROUP_ROWS
                    or sum(each.nbytes for each in group) >= _ROW_GROUP_BYTES
                ):
                    writer.write_table(pa.Table.from_batches(group, self.schema))
                    group = []
            if group:
                writer.write_table(pa.Table.from_batches(group, self.schema))
        with place.open("rb") as stream:
            os.fsync(stream.fileno())
        return place


def _batches(partial: Path) -> Iterator[Any]:
    with pa.OSFile(str(partial)) as source:
        while source.tell() < source.size():
            with pa.ipc.open_stream(source) as stream:
                yield from stream


def _schema_of(reader: Reader) -> Any:
    """Types of columns that come from text."""
    assert reader.names is not None
    types = reader.types if isinstance(reader, JsonlReader) else {}
    return pa.schema([(name, _json_type(types.get(name, {"str"}))) for name in reader.names])


def _json_type(found: set[str]) -> Any:
    """The type that holds all of these, or a string."""
    found = found - {"NoneType"}
    return next((kind for types, kind in _JSON_TYPES if found and found <= types), pa.string())


def _column(values: Sequence[Any], kind: Any) -> Any:
    if pa.types.is_string(kind):
        values = [value if value is None or isinstance(value, str) else cell(value) for value in values]
    return pa.array(values, kind)


def _values(column: Any) -> list[Any]:
    """Values of a column; a string that is not UTF-8 as bytes."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_value(value) for value in column]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes()
