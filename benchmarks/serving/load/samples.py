"""The answers to a run of load, request by request, and its figures."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from benchmarks.serving.load.connection import LOST

PERCENTILES = (50.0, 99.0, 99.9)
OK = 200


class Samples(NamedTuple):
    """One entry per request, in the order of their answers; times are seconds from the start of the run.

    Attributes:
        due: float64[requests], when it should have been sent; latency counts from here.
        ended: float64[requests], when its answer was complete, or its connection lost.
        status: int64[requests], `LOST` if there was no answer.
        request: int64[requests], index of the prepared request.
    """

    due: np.ndarray
    ended: np.ndarray
    status: np.ndarray
    request: np.ndarray

    @property
    def latencies(self) -> np.ndarray:
        """Return the seconds float64[requests] from when each was due until its answer."""
        seconds: np.ndarray = self.ended - self.due
        return seconds

    def where(self, chosen: np.ndarray) -> "Samples":
        """Return the requests for which bool[requests] `chosen` is True."""
        return Samples(*(column[chosen] for column in self))

    @property
    def accepted(self) -> "Samples":
        """Return the requests that were answered with 200."""
        return self.where(self.status == OK)


def percentile(values: np.ndarray, share: float) -> float:
    """Return the smallest of `values` that `share` percent of them do not exceed; NaN if there are none."""
    if not len(values):
        return float("nan")
    return float(np.percentile(values, share, method="inverted_cdf"))


def figures(samples: Samples, seconds: float) -> dict[str, Any]:
    """Return the figures of a run of `seconds` as JSON values; latencies in milliseconds, of answers with 200 alone.

    Answers after the end count for latency, to include the slowest, but not for the rate.
    """
    accepted = samples.accepted
    statuses = Counter(samples.status.tolist())
    milliseconds = 1000 * accepted.latencies
    return {
        "requests_per_second": float((accepted.ended <= seconds).sum() / seconds),
        **{f"p{share:g}_ms": percentile(milliseconds, share) for share in PERCENTILES},
        "max_ms": percentile(milliseconds, 100.0),
        "requests": len(samples.status),
        "statuses": {("lost" if status == LOST else str(status)): count for status, count in sorted(statuses.items())},
    }
