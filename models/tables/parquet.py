"""Parquet, through pyarrow. Columns keep their types.

A Parquet file ends with a description of itself, so it cannot grow window by window. Until all rows are there, each
window is written as an Arrow stream of its own; the Parquet file is made of them at the end.
"""

import hashlib
import io
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from models.tables.columns import Chosen, distinct
from models.tables.delimited_writer import cell
from models.tables.errors import TableError
from models.tables.json_rows import JsonReader
from models.tables.rows import WINDOW_CHARACTERS, Number, Reader, Window, label_fault, label_text, text_fault
from models.tables.source import Mark, decompressed, open_raw

_BUFFER_BYTES = 1 << 20
_ROW_GROUP_ROWS = 1 << 16
_ROW_GROUP_BYTES = 1 << 26
_MAGIC = b"PAR1"

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
    """Reads a Parquet file in batches. One that is compressed as a whole is unpacked into a temporary file first.

    Args:
        path: the file.
        text: the column of texts.
        label: the column of labels, if any.
        window_rows: rows in a window, at most.

    Raises:
        TableError: it is no Parquet file, or has no such column of strings.
    """

    def __init__(self, path: Path, text: Chosen, label: Chosen | None, window_rows: int) -> None:
        self.warnings: deque[str] = deque()
        self._path = path
        self._window_rows = window_rows
        self._stream = _seekable(path)
        with ExitStack() as closed_on_failure:
            closed_on_failure.callback(self._stream.close)
            self._begin(text, label)
            closed_on_failure.pop_all()

    def _begin(self, text: Chosen, label: Chosen | None) -> None:
        path = self._path
        try:
            # Without read-ahead: a row group may be larger than the memory.
            self._file = pa.parquet.ParquetFile(self._stream, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        except (OSError, pa.ArrowException) as error:
            raise TableError(f"{path}: expected a Parquet file. {error}.") from error
        self.schema = self._file.schema_arrow
        self.names: tuple[str, ...] | None = tuple(self.schema.names)
        self._text = text.find(self.schema.names, str(path))
        self._label = None if label is None else label.find(self.schema.names, str(path))
        kind = self.schema.field(self._text).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            raise TableError(f"{path}: expected strings in column {text.name!r}. Received a column of {kind}.")
        self.identity: dict[str, Any] = {"input": self._footer_hash()}
        self._rows = self._file.metadata.num_rows
        self._read = 0

    @property
    def fraction(self) -> float | None:
        """How much of the rows has been read."""
        return self._read / self._rows if self._rows else None

    def _footer_hash(self) -> str:
        """Return a hash of the footer, which says where every column of every row group lies and what it holds."""
        self._stream.seek(-8, os.SEEK_END)
        length = int.from_bytes(self._stream.read(4), "little")
        self._stream.seek(-8 - length, os.SEEK_END)
        return hashlib.blake2b(self._stream.read(length), digest_size=16).hexdigest()

    def go_to(self, mark: Mark) -> None:
        """Skip the rows before `mark`."""
        self._read = int(mark["rows"])

    def windows(self) -> Iterator[Window]:
        """Yield the rows in order. No window crosses the end of a row group, so reading may begin at any window.

        Raises:
            TableError: the file is damaged.
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
            raise TableError(f"{self._path}: cannot be read after row {self._read:,}: {error}.") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()

    def _window(self, batch: Any) -> Window:
        texts = _values(batch.column(self._text))
        faults = [text_fault(text) for text in texts]
        labels: list[str | None] = []
        if self._label is not None:
            found = _values(batch.column(self._label))
            faults = [fault or label_fault(label) for fault, label in zip(faults, found, strict=True)]
            labels = [None if fault else label_text(label) for fault, label in zip(faults, found, strict=True)]
        kept = [None if fault else text for text, fault in zip(texts, faults, strict=True)]
        lines = range(self._read - len(kept) + 1, self._read + 1)
        return Window(kept, labels, faults, lines, ArrowRows(batch), {"rows": self._read}, self.fraction)


class ParquetWriter:
    """Writes Parquet.

    Columns of a Parquet file keep their types, those of delimited text are strings, and those of JSON have the type of
    their values; what is nested or mixed there becomes JSON text.

    Args:
        reader: whose columns to write.
        added: the columns that are added to them, each with its type as `arrow_type` reads it.
        compress: what compresses the file as a whole, if anything does.
    """

    def __init__(self, reader: Reader, added: Mapping[str, Any], compress: Any = None) -> None:
        self._kept = reader.schema if isinstance(reader, ParquetReader) else _schema_of(reader)
        self._added = pa.schema([(name, arrow_type(kind)) for name, kind in added.items()])
        self.schema = pa.schema([*self._kept, *self._added], metadata=self._kept.metadata)
        self._compress = compress

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def encode(self, window: Window, added: dict[str, list[Any]]) -> bytes:
        """Return an Arrow stream of the window."""
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

    def footer(self) -> bytes:
        """Return nothing."""
        return b""

    def assemble(self, partial: Path) -> Path:
        """Read the streams in `partial` one by one and write them as a Parquet file beside it."""
        place = partial.with_name(f"{partial.name}.joined")
        with place.open("wb") as stream:
            if self._compress is None:
                self._join(partial, stream)
            else:
                with tempfile.TemporaryFile(dir=place.parent) as plain:
                    self._join(partial, plain)
                    plain.seek(0)
                    while block := plain.read(_BUFFER_BYTES):
                        stream.write(self._compress(block))
            stream.flush()
            os.fsync(stream.fileno())
        return place

    def _join(self, partial: Path, stream: Any) -> None:
        with pa.parquet.ParquetWriter(stream, self.schema) as writer:
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


def arrow_type(kind: Any) -> Any:
    """Return the Arrow type of a Python type; of a list with a dict in it, by the dict's names and types."""
    match kind:
        case [dict() as fields]:
            return pa.list_(pa.struct([(name, arrow_type(each)) for name, each in fields.items()]))
        case _:
            return {str: pa.string(), float: pa.float64(), bool: pa.bool_(), int: pa.int32()}[kind]


def _seekable(path: Path) -> Any:
    """Open a Parquet file; one that is compressed as a whole as a temporary file of its content."""
    raw, _ = open_raw(path)
    stream = io.BufferedReader(raw)
    start = stream.peek(4)[:4]
    plain = decompressed(stream, start)
    if plain is stream:
        return stream
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (the reader closes it)
    try:
        with stream:
            shutil.copyfileobj(plain, unpacked)
    except (OSError, EOFError) as error:
        unpacked.close()
        raise TableError(f"{path}: expected a Parquet file. {error}.") from error
    unpacked.seek(0)
    return unpacked


def _batches(partial: Path) -> Iterator[Any]:
    with pa.OSFile(str(partial)) as source:
        while source.tell() < source.size():
            with pa.ipc.open_stream(source) as stream:
                yield from stream


def _schema_of(reader: Reader) -> Any:
    """Return the types of columns that were text."""
    assert reader.names is not None
    types = reader.types if isinstance(reader, JsonReader) else {}
    fields = zip(distinct(reader.names), reader.names, strict=True)
    return pa.schema([(name, _json_type(types.get(own, {"str"}))) for name, own in fields])


def _json_type(found: set[str]) -> Any:
    """Return the type that holds all these, or a string of text or JSON."""
    found = found - {"NoneType"}
    return next((kind for types, kind in _JSON_TYPES if found and found <= types), pa.string())


def _column(values: Sequence[Any], kind: Any) -> Any:
    if pa.types.is_string(kind):
        shown = [value if value is None or type(value) is str else cell(value) for value in values]
        try:
            return pa.array(shown, kind)
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold
            return pa.array([value and value.encode(errors="replace").decode() for value in shown], kind)
    number = int if pa.types.is_integer(kind) else float
    return pa.array([number(value) if isinstance(value, Number) else value for value in values], kind)


def _values(column: Any) -> list[Any]:
    """Return the values of a column; a string that is not UTF-8 as its bytes."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_value(value) for value in column]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes()
