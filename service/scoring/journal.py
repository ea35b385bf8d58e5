"""The progress of a run on disk: one line per window, each with a checksum.

Lines are only appended. A line cut short by a kill fails its checksum; it and everything after it are dropped, and the
run continues from the last whole window.
"""

import os
import zlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Self

import orjson

from service.scoring.errors import ScoreError

try:
    import fcntl
except ImportError:  # Windows: concurrent runs are not detected
    fcntl = None  # type: ignore[assignment]


class Journal:
    """An append-only file of JSON objects, locked while it is open. The first entry identifies the run."""

    def __init__(self, path: Path, stream: FileIO, entries: list[dict[str, Any]]) -> None:
        self.path = path
        self.entries = entries
        self._stream = stream

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the journal at `path`, dropping what follows its last whole line.

        Raises:
            ScoreError: another process has it open, or it cannot be written.
        """
        try:
            stream = path.open("a+b", buffering=0)
        except OSError as error:
            raise ScoreError(f"{path}: cannot be written: {error.strerror or error}.") from error
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                stream.close()
                raise ScoreError(f"{path}: another run is writing this output.") from error
        stream.seek(0)
        content = stream.read()
        entries = list(_whole_lines(content))
        stream.truncate(sum(len(_line(entry)) for entry in entries))
        return cls(path, stream, entries)

    def append(self, entry: dict[str, Any]) -> None:
        """Write a line and sync it to disk."""
        write_whole(self._stream, _line(entry))
        os.fsync(self._stream.fileno())
        self.entries.append(entry)

    def clear(self) -> None:
        """Delete all entries."""
        self._stream.truncate(0)
        self.entries.clear()

    def close(self) -> None:
        """Close the file and release the lock."""
        self._stream.close()

    def remove(self) -> None:
        """Delete the file at the end of the run."""
        self.path.unlink()
        self.close()


def write_whole(stream: FileIO, content: bytes) -> None:
    """Write all of `content`. A nearly full disk takes part of it without an error."""
    view = memoryview(content)
    while view:
        view = view[stream.write(view) :]


def _line(entry: dict[str, Any]) -> bytes:
    body = orjson.dumps(entry)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _whole_lines(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines(keepends=True):
        checksum, _, body = line.removesuffix(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
            return
        yield orjson.loads(body)
