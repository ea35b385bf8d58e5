"""The output during a run: written by windows beside its final path, and renamed when complete."""

import os
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, Self

from models.tables.rows import Writer
from models.tables.source import Mark
from service.scoring.errors import ScoreError
from service.scoring.journal import Journal, write_whole

Compress = Callable[[bytes], bytes] | None


class StreamOutput:
    """Standard output, which cannot be resumed."""

    mark: Mark | None = None
    whole = False

    def __init__(self, writer: Writer) -> None:
        self.rows = self.errors = 0
        self._writer = writer
        self._write(writer.header())

    def commit(self, content: bytes, mark: Mark, rows: int, errors: int) -> None:
        """Write a window."""
        self._write(content)
        self.rows, self.errors = self.rows + rows, self.errors + errors

    def _write(self, content: bytes) -> None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def finish(self) -> None:
        """Write what follows the last row."""
        self._write(self._writer.footer())

    def close(self) -> None:
        """Do nothing."""


class FileOutput:
    """A file that grows as `NAME.partial` beside a journal `NAME.journal`, and is renamed at the end.

    A window counts as written once its journal line, which follows its bytes, is on disk. Bytes after the last line are
    cut off before a run continues, so nothing is lost or duplicated.

    Args:
        place: path of the output.
        writer: assembles the table.
        compress: compresses each window, if given; together they are one compressed file.
        journal: of this run, with at least one entry.

    Attributes:
        mark: where to continue reading the input; None for its beginning.
        rows: rows written, including those of a stopped run.
        errors: rows among them with an error.
        whole: whether all rows are written.
    """

    def __init__(self, place: Path, writer: Writer, compress: Compress, journal: Journal) -> None:
        self._place = place
        self._writer = writer
        self._compress = compress
        self._journal = journal
        last = journal.entries[-1]
        self.mark: Mark | None = last.get("mark")
        self.rows: int = last["rows"]
        self.errors: int = last["errors"]
        self.whole: bool = last["whole"]
        self._size: int = last["bytes"]
        named = self.whole and place.exists() and not partial_of(place).exists()
        self._stream = None if named else _cut_back(partial_of(place), self._size)

    @classmethod
    def open(
        cls, place: Path, writer: Writer, compress: Compress, identity: dict[str, Any], *, resume: bool, force: bool
    ) -> Self:
        """Start a run, or continue a stopped one.

        Args:
            place: path of the output.
            writer: assembles the table.
            compress: compresses each window, if given.
            identity: options and input, which must equal those of the stopped run.
            resume: continue if there is a stopped run.
            force: start over and replace the output.

        Raises:
            ScoreError: there is an output or an unfinished run already, or the stopped run differs.
        """
        journal = Journal.open(journal_of(place))
        try:
            if force:
                journal.clear()
            if journal.entries:
                _check_same(place, journal, identity, resume)
            else:
                if not force:
                    _check_absent(place, partial_of(place))
                journal.append({"run": identity, "replaces": place.exists(), **_entry(0, 0, 0)})
            output = cls(place, writer, compress, journal)
        except ScoreError:
            journal.close() if journal.entries else journal.remove()
            raise
        if not output.rows and not output.whole:
            output._append(writer.header())
        return output

    def commit(self, content: bytes, mark: Mark, rows: int, errors: int) -> None:
        """Write a window and sync it to disk."""
        self._append(content)
        self.mark, self.rows, self.errors = mark, self.rows + rows, self.errors + errors
        self._record()

    def _record(self) -> None:
        """Sync the bytes, then append the journal line that counts them."""
        assert self._stream is not None
        os.fsync(self._stream.fileno())
        entry = _entry(self._size, self.rows, self.errors, self.whole)
        self._journal.append(entry if self.mark is None else entry | {"mark": self.mark})

    def _append(self, content: bytes) -> None:
        assert self._stream is not None
        if self._compress is not None and content:
            content = self._compress(content)
        write_whole(self._stream, content)
        self._size += len(content)

    def finish(self) -> None:
        """Rename the file to its final name. Safe to repeat after a kill at any point."""
        partial = partial_of(self._place)
        if not self.whole:
            self._append(self._writer.footer())
            self.whole = True
            self._record()
        if self._stream is not None:
            os.replace(self._writer.assemble(partial), self._place)
            partial.unlink(missing_ok=True)
            _flush_names(self._place.parent)
        self._journal.remove()

    def close(self) -> None:
        """Close the files, so that another run can continue."""
        if self._stream is not None:
            self._stream.close()
        self._journal.close()


Output = FileOutput | StreamOutput


def partial_of(place: Path) -> Path:
    """Path of the growing output."""
    return place.with_name(f"{place.name}.partial")


def journal_of(place: Path) -> Path:
    """Path of the journal of an output."""
    return place.with_name(f"{place.name}.journal")


def check_free(place: Path, *, resume: bool, force: bool) -> None:
    """Check that a run may write `place`, before a model is loaded for it.

    Raises:
        ScoreError: there is an output or an unfinished run already.
    """
    if force:
        return
    if journal_of(place).exists():
        if not resume:
            raise _unfinished(place)
    else:
        _check_absent(place, partial_of(place))


def _check_absent(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise ScoreError(f"{path}: already exists. Replace it with --force.")


def _unfinished(place: Path) -> ScoreError:
    return ScoreError(f"{place}: has an unfinished run. Continue it with --resume, or start over with --force.")


def _entry(size: int, rows: int, errors: int, whole: bool = False) -> dict[str, Any]:
    return {"bytes": size, "rows": rows, "errors": errors, "whole": whole}


def _check_same(place: Path, journal: Journal, identity: dict[str, Any], resume: bool) -> None:
    """Check that the stopped run may be continued.

    Raises:
        ScoreError: it differs from this run, or `resume` was not given.
    """
    if not resume:
        raise _unfinished(place)
    stopped = journal.entries[0]["run"]
    differ = [name for name in identity if stopped.get(name) != identity[name]]
    if differ:
        shown = "; ".join(f"{name} was {stopped.get(name)!r} and is {identity[name]!r}" for name in differ)
        raise ScoreError(
            f"{place}: expected the options and input of the stopped run. Received others: {shown}. Repeat the same "
            "command, or start over with --force."
        )
    if place.exists() and not journal.entries[0]["replaces"] and not journal.entries[-1]["whole"]:
        raise ScoreError(f"{place}: was created after the stopped run began. Move it away.")


def _cut_back(path: Path, size: int) -> FileIO:
    """Truncate the file to `size` bytes and open it at its end.

    Raises:
        ScoreError: it is shorter, or cannot be written.
    """
    try:
        stream = FileIO(path, "r+b" if size else "wb")
    except OSError as error:
        raise ScoreError(f"{path}: cannot be written: {error.strerror or error}.") from error
    found = stream.seek(0, os.SEEK_END)
    if found < size:
        stream.close()
        raise ScoreError(
            f"{path}: expected the {size:,} bytes in the journal. Received {found:,}: start over with --force."
        )
    stream.truncate(size)
    stream.seek(size)
    return stream


def _flush_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
