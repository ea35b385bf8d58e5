"""One run, from the first row to the finished file."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, TypeVar

from models.tables.rows import Reader, Writer
from models.tables.table import Table, open_writer
from service.scoring.columns import Added
from service.scoring.description import describe
from service.scoring.errors import ScoreError
from service.scoring.forward import Outcomes, Prepared, Scorer, prepare
from service.scoring.output import FileOutput, Output, StreamOutput
from service.scoring.progress import Report

T = TypeVar("T")

_AHEAD = 2
"""Windows that are read before they are needed, and windows behind the one that is written: memory for so many more."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run as it was asked for.

    Attributes:
        reader: of the input, at its beginning; the run closes it.
        to: the output.
        added: the columns to add.
        resume: go on with a run that was stopped.
        force: begin anew, and replace what is there.
    """

    reader: Reader
    to: Table
    added: Added
    resume: bool = False
    force: bool = False


def score(job: Job, scorer: Scorer) -> tuple[int, int]:
    """Read, classify and write every row, in order.

    Args:
        job: the run.
        scorer: runs the model.

    Returns:
        rows written, and how many of them have an error.

    Raises:
        ScoreError, TableError: the run cannot begin or go on; `resume` goes on behind the last window that was written.
    """
    with ExitStack() as stack:
        reader = stack.enter_context(closing(job.reader))
        if reader.names is not None:
            job.added.check(reader.names)
        writer = open_writer(job.to, reader, job.added.types)
        identity = _identity(job, scorer)
        output = stack.enter_context(closing(_open_output(job, writer, identity)))
        pool = ThreadPoolExecutor(scorer.threads, thread_name_prefix="engine")
        stack.callback(pool.shutdown, cancel_futures=True)
        if output.mark is not None and not output.whole:
            reader.go_to(output.mark)
        with Report(output.rows, reader.fraction) as report:
            if not output.whole:
                _score_windows(job, scorer, pool, reader, writer, output, report)
            output.finish()
            _show_warnings(reader, report)
        report.end(output.rows, output.errors, str(job.to.path or "standard output"))
        return output.rows, output.errors


def _score_windows(
    job: Job, scorer: Scorer, pool: Executor, reader: Reader, writer: Writer, output: Output, report: Report
) -> None:
    """Read and tokenize in one thread, compute in the pool, describe and write in another thread, all at once."""

    def write(before: Future[None] | None, prepared: Prepared, outcomes: Callable[[], Outcomes]) -> None:
        if before is not None:
            before.result()  # behind a window that could not be written nothing may be vouched for
        window = prepared.window
        added = describe(scorer.bundle, job.added, prepared, outcomes())
        errors = sum(error is not None for error in added[job.added.prefix + "error"])
        output.commit(writer.encode(window, added), window.mark, len(window), errors)
        report.tell(output.rows, output.errors, window.fraction)
        _show_warnings(reader, report)

    with ThreadPoolExecutor(1, thread_name_prefix="write") as writing:
        pending: deque[Future[None]] = deque()
        for prepared in _ahead(prepare(reader.windows(), scorer.bundle)):
            before = pending[-1] if pending else None
            pending.append(writing.submit(write, before, prepared, scorer.start(prepared, pool)))
            if len(pending) > _AHEAD:
                pending.popleft().result()
        for each in pending:
            each.result()


def _show_warnings(reader: Reader, report: Report) -> None:
    while reader.warnings:
        report.warn(reader.warnings.popleft())


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """`items`, each fetched in a thread before it is asked for."""
    end: Any = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reading:
        fetched = deque(reading.submit(next, items, end) for _ in range(_AHEAD))
        try:
            while (item := fetched.popleft().result()) is not end:
                fetched.append(reading.submit(next, items, end))
                yield item
        finally:
            reading.shutdown(cancel_futures=True)


def _open_output(job: Job, writer: Writer, identity: dict[str, Any]) -> Output:
    if job.to.path is not None:
        compress = None if job.to.kind == "parquet" else job.to.compress
        return FileOutput.open(job.to.path, writer, compress, identity, resume=job.resume, force=job.force)
    if job.resume:
        raise ScoreError("--resume: expected -o with a name. What went to standard output cannot be gone on with.")
    return StreamOutput(writer)


def _identity(job: Job, scorer: Scorer) -> dict[str, Any]:
    """Return what two runs must have in common to write the same bytes."""
    return {
        **job.reader.identity,
        "--tokens": job.added.tokens,
        "--explain-columns": job.added.explain,
        "--prefix": job.added.prefix,
        "model": f"{scorer.bundle.card.name} {scorer.bundle.card.version}",
        "engine": scorer.identity,
    }
