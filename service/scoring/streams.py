"""The bytes of a table, plain or gzip, from a file or standard input, counted and hashed as they are read."""

import gzip
import hashlib
import io
import os
import sys
import zlib
from io import FileIO
from pathlib import Path
from typing import cast

from service.scoring.errors import ScoreError
from service.scoring.rows import Mark

_CHUNK = 1 << 20


class Source:
    """Lines of bytes, uncompressed, read once and in order.

    Args:
        path: the file; None for standard input.

    Raises:
        ScoreError: the file cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self.name = "standard input" if path is None else str(path)
        self.position = 0
        self.lines = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._raw, self._size = self._open(path)
        gzipped = path is not None and path.name.endswith(".gz")
        raw = gzip.GzipFile(fileobj=self._raw) if gzipped else self._raw
        self._stream: io.BufferedIOBase = io.BufferedReader(cast(io.RawIOBase, raw), _CHUNK)

    def _open(self, path: Path | None) -> tuple[FileIO, int | None]:
        if path is None:
            return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False), None
        try:
            raw = path.open("rb", buffering=0)
        except OSError as error:
            raise ScoreError(f"{path}: cannot be read: {error.strerror or error}.") from error
        return raw, os.fstat(raw.fileno()).st_size

    def line(self, limit: int) -> bytes:
        """Read the next line, or its first `limit` bytes; empty at the end of the input.

        Raises:
            ScoreError: the file is not gzip as its name says, or is truncated.
        """
        try:
            line = self._stream.readline(limit)
        except (OSError, EOFError, zlib.error) as error:
            raise ScoreError(f"{self.name}: cannot be read after line {self.lines:,}: {error}.") from error
        self._hash.update(line)
        self.position += len(line)
        self.lines += line.endswith(b"\n") or 0 < len(line) < limit
        return line

    @property
    def fraction(self) -> float | None:
        """Fraction of the file that is read; None if its size is unknown."""
        if not self._size:
            return None
        return min(1.0, self._raw.tell() / self._size)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._raw.close()

    def mark(self) -> Mark:
        """Return the current position, with a hash of all bytes before it."""
        return {"bytes": self.position, "lines": self.lines, "hash": self._hash.hexdigest()}

    def go_to(self, mark: Mark) -> None:
        """Read up to `mark` and check the hash of the bytes before it.

        Raises:
            ScoreError: they have changed.
        """
        try:
            while left := int(mark["bytes"]) - self.position:
                part = self._stream.read(min(_CHUNK, left)) if left > 0 else b""
                if not part:
                    break
                self._hash.update(part)
                self.position += len(part)
        except (OSError, EOFError, zlib.error) as error:
            raise ScoreError(f"{self.name}: cannot be read: {error}.") from error
        self.lines = int(mark["lines"])
        if self.mark() != mark:
            raise ScoreError(
                f"{self.name}: expected the input of the stopped run. Its first {int(mark['bytes']):,} bytes have "
                "changed since. Restore it, or start over with --force."
            )
