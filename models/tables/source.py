"""Lines of bytes from a file or standard input: decompressed, counted and hashed as they are read."""

import codecs
import gzip
import hashlib
import importlib
import io
import os
import sys
import zlib
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any

from models.tables.errors import TableError

Mark = dict[str, int | str]
"""A place between two rows of a table, of plain values to keep in a journal."""

_CHUNK = 1 << 18
_HINT_BYTES = 1 << 12
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT = {
    b"PAR1": "a Parquet file: give its name the suffix .parquet",
    b"PK\x03\x04": "a zip archive or an Excel workbook: save its table as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save its table as CSV in UTF-8",
}
_LIKELY = ["cp1251", "gb18030", "shift_jis", "big5", "euc_kr"]
_ASCII = bytes(range(0x20, 0x7F)) + b"\t\r\n"


class EncodingFault(str):
    """Says which byte of a row does not decode."""

    __slots__ = ()


class Source:
    """Lines read once, in order. They end with a line feed, or with a carriage return in a file that has those alone.

    Encodings that do not hold ASCII as it is, such as UTF-16, are turned into UTF-8 as they are read.

    Args:
        path: the file; None is standard input.
        encoding: of the text; None is UTF-8, or what a byte order mark says.

    Raises:
        TableError: there is no such file or encoding, or the file holds no text.
    """

    def __init__(self, path: Path | None, encoding: str | None = None) -> None:
        self.name = "standard input" if path is None else str(path)
        self.position = 0
        self.lines = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._raw, self._size = open_raw(path)
        with ExitStack() as closed_on_failure:
            closed_on_failure.callback(self._raw.close)
            self._begin(encoding)
            closed_on_failure.pop_all()

    def _begin(self, encoding: str | None) -> None:
        """Look at the first bytes: they tell the compression, the encoding and the line end."""
        buffered = io.BufferedReader(self._raw, _CHUNK)
        start = buffered.peek(4)[:4]
        if start in _NOT_TEXT:
            raise TableError(f"{self.name}: expected text. Received {_NOT_TEXT[start]}.")
        self._stream = decompressed(buffered, start)
        self._buffer, self._at = b"", 0
        self._decoder: Any = None
        while len(self._buffer) < 4 and self._fill():
            pass
        self._choose_encoding(encoding)
        while b"\n" not in self._buffer and len(self._buffer) < _CHUNK and self._fill():
            pass
        self._end = b"\r" if b"\r" in self._buffer and b"\n" not in self._buffer else b"\n"

    def _choose_encoding(self, given: str | None) -> None:
        mark, marked = next(((mark, name) for mark, name in _MARKS if self._buffer.startswith(mark)), (b"", "utf-8"))
        self.encoding = given or marked
        try:
            plain = _ASCII.decode(self.encoding, errors="ignore") == _ASCII.decode()
        except LookupError:
            raise TableError(
                f"--encoding: expected the name of an encoding, such as latin-1. Received {given!r}."
            ) from None
        name = codecs.lookup(self.encoding).name
        if given is None or name.removesuffix("-sig") == marked:
            self._buffer = self._buffer[len(mark) :]
        self._hinted = given is not None or marked != "utf-8"
        self._codec = "utf-8"
        if plain:
            self._codec = "utf-8" if name == "utf-8-sig" else self.encoding
        else:
            errors = "surrogatepass" if name.startswith(("utf-16", "utf-32")) else "strict"
            self._decoder = codecs.getincrementaldecoder(self.encoding)(errors)
            self._buffer = self._transcode(self._buffer)

    def _fill(self) -> bool:
        """Read more into the buffer; False at the end."""
        try:
            chunk = self._stream.read1(_CHUNK)
        except (OSError, EOFError, zlib.error) as error:
            raise TableError(f"{self.name}: cannot be read after line {self.lines:,}: {error}.") from error
        more = bool(chunk)
        if self._decoder is not None:
            chunk = self._transcode(chunk)
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return more

    def _transcode(self, chunk: bytes) -> bytes:
        try:
            decoded: str = self._decoder.decode(chunk, not chunk)
        except UnicodeDecodeError as error:
            raise TableError(f"{self.name}: expected {self.encoding} after line {self.lines:,}. {error}.") from error
        return decoded.encode("utf-8", "surrogatepass")

    def line(self, limit: int) -> bytes:
        """Return the next line with its end, or the first `limit` bytes of it; empty at the end.

        Raises:
            TableError: the file cannot be read any further.
        """
        looked = self._at
        while (end := self._buffer.find(self._end, looked, self._at + limit)) < 0:
            left = len(self._buffer) - self._at
            if left >= limit or not self._fill():
                return self._take(min(left, limit), ends=left < limit)
            looked = self._at + left
        return self._take(end + 1 - self._at)

    def block(self, size: int) -> bytes:
        """Return the next `size` bytes; fewer at the end.

        Raises:
            TableError: the file cannot be read any further.
        """
        while len(self._buffer) - self._at < size and self._fill():
            pass
        return self._take(min(len(self._buffer) - self._at, size))

    def _take(self, size: int, ends: bool = False) -> bytes:
        taken = self._buffer[self._at : self._at + size]
        self._at += size
        self.position += size
        self.lines += taken.count(self._end) or (ends and size > 0)
        self._hash.update(taken)
        return taken

    def decode(self, line: bytes) -> tuple[str, EncodingFault | None]:
        """Return the text of the last line that was read, and what is wrong with it; U+FFFD stands where that is."""
        try:
            return line.decode(self._codec), None
        except UnicodeDecodeError as error:
            fault = (
                f"Expected {self.encoding}. Received byte 0x{line[error.start]:02x} at line {self.lines}, byte "
                f"{error.start + 1}.{self._hint(line[max(0, error.start - _HINT_BYTES) :][: 2 * _HINT_BYTES])}"
            )
            return line.decode(self._codec, errors="replace"), EncodingFault(fault)

    def incremental_decoder(self) -> codecs.IncrementalDecoder:
        """Return what decodes blocks of bytes that end anywhere."""
        return codecs.getincrementaldecoder(self._codec)()

    def _hint(self, sample: bytes) -> str:
        """Say which encoding may be meant, if none was given."""
        if self._hinted:
            return ""
        likely = "cp1252"
        if 4 * sum(byte > 0x7F for byte in sample) > len(sample):  # no language of Western Europe
            from charset_normalizer import from_bytes

            found = from_bytes(sample, cp_isolation=_LIKELY).best()
            likely = found.encoding if found else likely
        return f" The file may be in {likely}: --encoding {likely}."

    @property
    def fraction(self) -> float | None:
        """How much of the file has been read; None if its size is unknown."""
        return min(1.0, self._raw.tell() / self._size) if self._size else None

    def mark(self) -> Mark:
        """Return the place that reading has come to, with a hash of all before it."""
        return {"bytes": self.position, "lines": self.lines, "hash": self._hash.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._raw.close()


def open_raw(path: Path | None) -> tuple[FileIO, int | None]:
    """Open a file, or standard input, and return it with its size.

    Raises:
        TableError: there is no such file.
    """
    if path is None:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False), None
    try:
        raw = path.open("rb", buffering=0)
    except OSError as error:
        raise TableError(f"{path}: expected a readable file. {error.strerror or error}.") from error
    return raw, os.fstat(raw.fileno()).st_size


def decompressed(stream: "io.BufferedReader[FileIO]", start: bytes) -> Any:
    """Return what reads the plain bytes, as the first bytes of the stream tell, whatever its name says."""
    if start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=stream)
    if start == b"\x28\xb5\x2f\xfd":
        arrow = pyarrow_module("pyarrow")
        return arrow.CompressedInputStream(arrow.PythonFile(stream, mode="r"), "zstd")
    return stream


def pyarrow_module(name: str) -> Any:
    """Import a module that needs pyarrow, which the service does not wait for when it starts.

    Raises:
        TableError: pyarrow is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise TableError(
            f"Expected the package {error.name}, which reads and writes Parquet and Zstandard. It is not installed: "
            "pip install pyarrow, or the extra: pip install './heed[cpu,parquet]'"
        ) from error
