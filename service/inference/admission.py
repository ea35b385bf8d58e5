"""Who is let in: requests are counted in padded tokens, as the engine pays for them."""

from abc import ABC, abstractmethod

from service.inference.errors import Overloaded

_RETRY_AT_LEAST, _RETRY_AT_MOST, _RETRY_UNKNOWN = 0.1, 60.0, 1.0  # seconds


class Admission(ABC):
    """Bounds what is admitted and not yet answered.

    Args:
        max_tokens: padded tokens of that, at most.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    @property
    @abstractmethod
    def tokens(self) -> int:
        """Padded tokens admitted and not yet answered, those in the engine included."""

    @property
    @abstractmethod
    def waiting_tokens(self) -> int:
        """Those of them that are not in the engine."""

    @property
    @abstractmethod
    def tokens_per_second(self) -> float | None:
        """Padded tokens that the engine got through lately; None before the first batch."""

    def refuse_if_full(self, coming: int = 0, more: int = 1) -> None:
        """Find out before any work is done on a request whether it would be refused anyway.

        Args:
            coming: tokens of requests that were let in, whether or not they were admitted here yet.
            more: tokens of the request in question, as far as one knows.

        Raises:
            Overloaded: no room is left for them, and something waits.
        """
        tokens = max(self.tokens, coming) + more
        if tokens > self._max_tokens and self.waiting_tokens:
            raise self._overloaded(tokens - self._max_tokens)

    def _check_room(self, needed: int) -> None:
        """See that so many tokens more fit in. More than the whole budget do when nothing else waits.

        Raises:
            Overloaded: they do not fit; `retry_after` is when they will, at the rate measured so far.
        """
        alone = needed > self._max_tokens and not self.waiting_tokens
        if self.tokens + needed > self._max_tokens and not alone:
            raise self._overloaded(self.tokens + needed - self._max_tokens)

    def _overloaded(self, excess: int) -> Overloaded:
        """What to tell a client for whom there are `excess` tokens too many."""
        rate = self.tokens_per_second
        wait = _RETRY_UNKNOWN if rate is None else excess / rate
        return Overloaded(min(max(wait, _RETRY_AT_LEAST), _RETRY_AT_MOST))
