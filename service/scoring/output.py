"""The output while it is being written: beside its place, by whole windows, until it is all there."""

import os
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, Self

from models.tables.rows import Writer
from models.tables.source import Mark
from service.scoring.errors import ScoreError
from service.scoring.journal import Journal, write_whole

Compress = Callable[[bytes], bytes] | None


class Output(Protocol):
    """Takes encoded windows in their order."""

    mark: Mark | None
    """Where the input is to be read on from; None: from its beginning."""
    rows: int
    """Rows that are written, those of a run that was killed before included."""
    errors: int
    """How many of them have an error."""
    whole: bool
    """Whether nothing is left but to `finish`."""

    def commit(self, content: bytes, mark: Mark, rows: int, errors: int) -> None:
        """Write a window."""

    def finish(self) -> None:
        """All is written."""

    def close(self) -> None:
        """Let go, whether finished or not."""


class StreamOutput:
    """Standard output: what is written is gone, nothing is kept to go on from."""

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
        """Write what stands behind the last row."""
        self._write(self._writer.footer())

    def close(self) -> None:
        """Nothing is held."""


class FileOutput:
    """A file that grows as `NAME.partial`, with a journal `NAME.journal` beside it, and gets its name in the end.

    A window counts as written once its line in the journal is on disk, which follows its bytes. What a kill leaves
    behind that line is cut off before the run goes on, so nothing is lost and nothing is there twice.

    Args:
        place: the file to be.
        writer: makes a table of the bytes.
        compress: compresses each window, if given; together they are one compressed file.
        journal: of this run, opened by `begin` or `go_on`.
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
        """Begin a run, or go on with the one that was stopped.

        Args:
            place: the file to be.
            writer: makes a table of the bytes.
            compress: compresses its parts, if given.
            identity: what a run must have in common with the stopped one: its options and its input.
            resume: go on if there is something to go on with.
            force: begin anew whatever is there.

        Raises:
            ScoreError: there is an output or an unfinished run in the way, or it is not this one.
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
        """Write a window, and see it on disk."""
        self._append(content)
        self.mark, self.rows, self.errors = mark, self.rows + rows, self.errors + errors
        self._record()

    def _record(self) -> None:
        """All bytes on disk, then the journal's line that vouches for them."""
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
        """Give the file its name. Whenever a kill comes, `finish` can be done again."""
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
        """Let another run go on."""
        if self._stream is not None:
            self._stream.close()
        self._journal.close()


def partial_of(place: Path) -> Path:
    """Where the output at `place` grows."""
    return place.with_name(f"{place.name}.partial")


def journal_of(place: Path) -> Path:
    """Where the journal of the output at `place` is."""
    return place.with_name(f"{place.name}.journal")


def check_free(place: Path, *, resume: bool, force: bool) -> None:
    """See that a run may begin to write `place`, before a model is loaded for it.

    Raises:
        ScoreError: an output or an unfinished run is in the way.
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
            raise ScoreError(f"{path}: expected no such file yet. There is one: replace it with --force.")


def _unfinished(place: Path) -> ScoreError:
    return ScoreError(
        f"{place}: expected no unfinished run on this output. There is one: go on with --resume, or begin anew "
        "with --force."
    )


def _entry(size: int, rows: int, errors: int, whole: bool = False) -> dict[str, Any]:
    return {"bytes": size, "rows": rows, "errors": errors, "whole": whole}


def _check_same(place: Path, journal: Journal, identity: dict[str, Any], resume: bool) -> None:
    """See that the stopped run is this one.

    Raises:
        ScoreError: it is not, or is not to be gone on with.
    """
    if not resume:
        raise _unfinished(place)
    stopped = journal.entries[0]["run"]
    differ = [name for name in identity if stopped.get(name) != identity[name]]
    if differ:
        shown = "; ".join(f"{name} was {stopped.get(name)!r} and is {identity[name]!r}" for name in differ)
        raise ScoreError(
            f"{place}: expected what the stopped run was given. Received something else: {shown}. Give the same again, "
            "or begin anew with --force."
        )
    if place.exists() and not journal.entries[0]["replaces"] and not journal.entries[-1]["whole"]:
        raise ScoreError(
            f"{place}: expected no such file. There is one that came after the stopped run began: move it away."
        )


def _cut_back(path: Path, size: int) -> FileIO:
    """The file, opened behind its first `size` bytes; what follows them is gone.

    Raises:
        ScoreError: it does not hold as many, or cannot be written.
    """
    try:
        stream = FileIO(path, "r+b" if size else "wb")
    except OSError as error:
        raise ScoreError(f"{path}: expected to write there. {error.strerror or error}.") from error
    found = stream.seek(0, os.SEEK_END)
    if found < size:
        stream.close()
        raise ScoreError(
            f"{path}: expected the {size:,} bytes that the journal tells of. Received {found:,}: begin anew "
            "with --force."
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
