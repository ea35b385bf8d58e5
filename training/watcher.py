"""Who follows a run."""

from typing import Protocol


class Watcher(Protocol):
    """Who is told how a run goes."""

    def say(self, message: str) -> None:
        """A line worth keeping."""

    def advance(self, what: str, done: int, total: int, figures: str = "") -> None:
        """`done` of `total` steps of `what`."""
