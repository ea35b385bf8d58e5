"""Progress of a training run: the protocol, and a progress bar in the terminal."""

from types import TracebackType
from typing import Protocol, Self

import rich.progress
from rich.console import Console


class Progress(Protocol):
    """Receive the progress of a run."""

    def say(self, message: str) -> None:
        """Report a message worth keeping."""

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        """Report that `done` of `total` steps of `task` are done; `figures` is shown beside them."""


class ConsoleProgress:
    """Print messages, with one progress bar below them.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        self._bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", style="progress.description", markup=False),
            rich.progress.BarColumn(bar_width=30),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(compact=True),
            rich.progress.TextColumn("{task.fields[figures]}", markup=False),
            console=console,
        )
        self._task = ""
        self._bar: rich.progress.TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        """Move the bar; a new task replaces it."""
        if self._bar is None or task != self._task:
            if self._bar is not None:
                self._bars.remove_task(self._bar)
            self._task, self._bar = task, self._bars.add_task(task, total=total, figures=figures)
        self._bars.update(self._bar, completed=done, total=total, figures=figures)
