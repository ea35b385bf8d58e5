"""When requests are due in open loop: as if by many people who do not wait for each other."""

import numpy as np


def poisson(rate: float, seconds: float, *, seed: int) -> np.ndarray:
    """Due times float64[requests] in rising order, from 0 to `seconds`, of a Poisson process with `rate` a second."""
    return bursts(rate, rate, seconds, period=seconds, burst=0.0, seed=seed)


def bursts(rate: float, burst_rate: float, seconds: float, *, period: float, burst: float, seed: int) -> np.ndarray:
    """Due times float64[requests]: a Poisson process whose rate is `burst_rate` in the last `burst` seconds of each
    `period`, and `rate` in between.

    Raises:
        ValueError: a rate or length is negative, or a burst longer than its period.
    """
    if min(rate, burst_rate, seconds, burst) < 0 or not burst <= period:
        raise ValueError(
            "Expected rates and lengths of at least 0 and bursts no longer than their period. "
            f"Received rates {rate} and {burst_rate}, {seconds} s, bursts of {burst} s every {period} s."
        )
    generator = np.random.default_rng(seed)
    highest = max(rate, burst_rate)
    due = np.sort(generator.uniform(0, seconds, generator.poisson(highest * seconds)))
    # Thinning: of a process at the highest rate, keep each arrival with the share that its moment's rate is of it.
    rates = np.where(due % period >= period - burst, burst_rate, rate) if period else np.full(due.shape, rate)
    kept: np.ndarray = due[generator.uniform(0, highest, due.size) < rates]
    return kept
