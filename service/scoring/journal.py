"""What a run has done so far, on disk: one line a window, each with its own checksum.

Lines are only ever appended. A line that was cut short by a kill does not match its checksum; it and what follows are
dropped, so the run goes on from the last window that is whole.
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
except ImportError:  # Windows: two runs at once are then not noticed
    fcntl = None  # type: ignore[assignment]


class Journal:
    """An append-only file of JSON objects. The first says what run this is.

    Nobody else may open it meanwhile; a lock sees to that, and goes with the process.
    """

    def __init__(self, path: Path, stream: FileIO, entries: list[dict[str, Any]]) -> None:
        self.path = path
        self.entries = entries
        self._stream = stream

    @classmethod
    def open(cls, path: Path) -> Self:
        """The journal at `path`, with the whole lines it holds; empty if there is none yet.

        Raises:
            ScoreError: another process has it open, or it cannot be written.
        """
        try:
            stream = path.open("a+b", buffering=0)
        except OSError as error:
            raise ScoreError(f"{path}: expected to write here. {error.strerror or error}.") from error
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                stream.close()
                raise ScoreError(f"{path}: expected no other run on this output. There is one just now.") from error
        stream.seek(0)
        content = stream.read()
        entries = list(_whole_lines(content))
        stream.truncate(sum(len(_line(entry)) for entry in entries))
        return cls(path, stream, entries)

    def append(self, entry: dict[str, Any]) -> None:
        """Write a line, and see it on disk."""
        write_whole(self._stream, _line(entry))
        os.fsync(self._stream.fileno())
        self.entries.append(entry)

    def clear(self) -> None:
        """Forget all."""
        self._stream.truncate(0)
        self.entries.clear()

    def close(self) -> None:
        """Let another run open it."""
        self._stream.close()

    def remove(self) -> None:
        """Delete the file: the run has ended."""
        self.path.unlink()
        self.close()


def write_whole(stream: FileIO, content: bytes) -> None:
    """Write all of `content`: a disk that is nearly full takes a part of it and says so, without an error."""
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
