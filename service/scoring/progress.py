"""Progress of a scoring run: a bar at a terminal, an occasional line elsewhere."""

import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_OF_SPEED = 600.0  # the time left follows from the speed in the last of them


class Report(Progress):
    """Shows rows, rows per second and the time left, on standard error.

    Args:
        rows: written before this process started.
        fraction: of the input that is read already; None if its size is unknown.
    """

    def __init__(self, rows: int, fraction: float | None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(None), TaskProgressColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        super().__init__(
            *columns,
            console=console,
            disable=not console.is_terminal,
            transient=True,
            speed_estimate_period=_SECONDS_OF_SPEED,
        )
        total = None if fraction is None else 1.0
        self._task = self.add_task("reading the first rows", total=total, completed=fraction or 0)  # type: ignore[arg-type]
        self._rows_before = rows
        self._started = self._told = time.monotonic()

    def tell(self, rows: int, errors: int, fraction: float | None) -> None:
        """Show the rows written and the fraction of the input read."""
        now = time.monotonic()
        line = f"{rows:,} rows, {self._rate(rows, now):,.0f} rows/s"
        if errors:
            line += f", {errors:,} errors"
        self.update(self._task, description=line, completed=fraction)
        if self.disable and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            if fraction is not None:
                line += f", {fraction:.0%}"
            if (left := self.tasks[0].time_remaining) is not None:
                line += f", {timedelta(seconds=round(left))} left"
            print(line, file=self.console.file, flush=True)

    def warn(self, message: str) -> None:
        """Print a line that stays, above the bar."""
        self.console.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)

    def end(self, rows: int, errors: int, where: str) -> None:
        """Print the totals."""
        now = time.monotonic()
        faulty = "no error" if not errors else f"{errors:,} error{'s' * (errors > 1)}, see the column"
        figures = f"{now - self._started:.1f} s, {self._rate(rows, now):,.0f} rows/s"
        print(f"{rows:,} rows, {faulty}; {figures}: {where}", file=self.console.file, flush=True)

    def _rate(self, rows: int, now: float) -> float:
        return (rows - self._rows_before) / max(now - self._started, 1e-9)
