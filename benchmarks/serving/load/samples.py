"""What a run of load was answered, request by request, and the figures of it."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from benchmarks.serving.load.connection import LOST

PERCENTILES = (50.0, 99.0, 99.9)
OK = 200


class Samples(NamedTuple):
    """One entry a request, in the order of their answers; times in seconds from the start of the run.

    Attributes:
        due: float64[requests], when it should have been sent: what its latency is measured from.
        ended: float64[requests], when its answer was there, or its connection lost.
        status: int64[requests], `LOST` where there was no answer.
        request: int64[requests], which of the prepared requests it was.
    """

    due: np.ndarray
    ended: np.ndarray
    status: np.ndarray
    request: np.ndarray

    @property
    def latencies(self) -> np.ndarray:
        """Seconds float64[requests] from when each was due until its answer."""
        seconds: np.ndarray = self.ended - self.due
        return seconds

    def where(self, chosen: np.ndarray) -> "Samples":
        """The requests for which bool[requests] `chosen` holds."""
        return Samples(*(column[chosen] for column in self))

    @property
    def accepted(self) -> "Samples":
        """Those that were answered with 200."""
        return self.where(self.status == OK)


def percentile(values: np.ndarray, share: float) -> float:
    """The smallest of `values` that `share` percent of them do not exceed; not a number where there are none."""
    if not len(values):
        return float("nan")
    return float(np.percentile(values, share, method="inverted_cdf"))


def figures(samples: Samples, seconds: float) -> dict[str, Any]:
    """What is told of a run of `seconds`: JSON values; latencies in milliseconds, of answers with 200 alone.

    An answer that came after the end counts for latency, as leaving it out would hide the slowest, not for the rate.
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
