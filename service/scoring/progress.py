"""What a person is told while a file is scored: a bar at a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_SECONDS_BETWEEN_LINES = 10.0


class Report:
    """Tells of rows, rows a second and the time left, on standard error.

    Args:
        console: where to; a bar is drawn only at a terminal.
        rows: that were there before this process began.
    """

    def __init__(self, console: Console | None = None, rows: int = 0) -> None:
        self._console = console or Console(file=sys.stderr)
        self._bar = (
            Progress(TextColumn("{task.description}"), BarColumn(None), console=self._console, transient=True)
            if self._console.is_terminal
            else None
        )
        self._task = None if self._bar is None else self._bar.add_task("reading the first rows", total=None)
        self._rows_before = rows
        self._first_fraction: float | None = None
        self._started = self._told = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, fraction: float | None) -> None:
        """Reading begins where `fraction` of the input lies behind."""
        self._first_fraction = fraction
        self._started = self._told = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since reading began."""
        return time.monotonic() - self._started

    def tell(self, rows: int, errors: int, fraction: float | None) -> None:
        """So many rows are written, and so much of the input is read."""
        line = self._line(rows, errors, fraction)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=line, total=1, completed=fraction or 0.0)
        elif time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            print(line, file=self._console.file, flush=True)

    def warn(self, message: str) -> None:
        """Print a line that stays, above the bar."""
        self._console.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)

    def end(self, rows: int, errors: int, where: str) -> None:
        """All is written."""
        rate = (rows - self._rows_before) / max(self.seconds, 1e-9)
        faulty = "no error" if not errors else f"{errors:,} error{'s' * (errors > 1)}, see the column"
        print(
            f"{rows:,} rows, {faulty}; {self.seconds:.1f} s, {rate:,.0f} rows/s: {where}",
            file=self._console.file,
            flush=True,
        )

    def _line(self, rows: int, errors: int, fraction: float | None) -> str:
        spent = self.seconds
        parts = [f"{rows:,} rows", f"{(rows - self._rows_before) / max(spent, 1e-9):,.0f} rows/s"]
        if errors:
            parts.append(f"{errors:,} errors")
        if fraction is not None:
            parts.append(f"{fraction:.0%}")
            done = fraction - (self._first_fraction or 0.0)
            if done > 0:
                parts.append(f"{_clock(spent * (1 - fraction) / done)} left")
        return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
