"""The failures of inference, each with a message for whoever asked. HTTP statuses are in `service.http.problems`."""

from collections.abc import Sequence


class HeedError(Exception):
    """A failure that a client is told about."""

    @property
    def detail(self) -> str:
        """The message: what was expected, what was received, what to do."""
        return str(self)


class UnknownModel(HeedError):
    """No loaded model has this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        loaded = ", ".join(repr(each) for each in known) if known else "none"
        super().__init__(f"Expected the name of a loaded model. Received {name[:100]!r}. Models loaded: {loaded}.")
        self.known = tuple(known)


class Overloaded(HeedError):
    """The queue is full. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("The queue is full. Try again after the seconds in Retry-After.")
        self.retry_after = retry_after


class NotReady(HeedError):
    """The service takes no predictions now: it is starting, draining or unhealthy."""


class PredictionFailed(HeedError):
    """The forward pass failed on this text. Other texts of its batch have their answers."""


class DeadlineExceeded(HeedError):
    """The request had no answer within its deadline."""

    def __init__(self, deadline_seconds: float) -> None:
        super().__init__(f"No answer within {deadline_seconds:g} seconds. Send less, or try again later.")
