"""Measure the training time until a classifier reaches the goal; measuring accuracy stops the clock."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

GOAL = 0.89
LOOKS_AN_EPOCH = 4
QUICK_LOOK = 5000

Predict = Callable[[np.ndarray], np.ndarray]  # positions of test texts int[texts] -> predicted labels int[texts]


class GoalReached(Exception):
    """The goal is reached; stop training."""


class Stopwatch:
    """Count wall and processor seconds of training, and measure accuracy four times an epoch.

    It is measured on 5,000 test texts, always the same ones, and on all of them once those reach the goal.

    Args:
        labels: labels of the test texts, int[texts].
        predict: predicts the labels of some of them.
        batches: batches of an epoch.
    """

    def __init__(self, labels: np.ndarray, predict: Predict, *, batches: int) -> None:
        self._labels = labels
        self._predict = predict
        self._batches = batches
        self._some = np.sort(np.random.default_rng(0).permutation(len(labels))[:QUICK_LOOK])
        self._done = 0
        self._seconds = self._processor_seconds = 0.0
        self._looks: list[dict[str, float]] = []
        self._accuracy: float | None = None
        self.start()

    def start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic(), time.process_time()

    def batch_done(self) -> None:
        """Count a batch.

        Raises:
            GoalReached: the classifier has reached the goal.
        """
        self._done += 1
        if (self._done * LOOKS_AN_EPOCH) // self._batches == ((self._done - 1) * LOOKS_AN_EPOCH) // self._batches:
            return
        self._stop()
        accuracy = self._right(self._some)
        look = {"epochs": self._done / self._batches, "seconds": self._seconds, "accuracy": accuracy}
        self._looks.append(look)
        print(f"{look['epochs']:.2f} epochs, {look['seconds']:.0f} s: accuracy {accuracy:.4f}", flush=True)
        if accuracy >= GOAL:
            self._accuracy = self._right(np.arange(len(self._labels)))
            if self._accuracy >= GOAL:
                raise GoalReached
        self.start()

    def figures(self) -> dict[str, Any]:
        """Return the seconds of training, epochs, measurements, and accuracy on all test texts."""
        reached = self._accuracy is not None and self._accuracy >= GOAL
        if not reached:
            self._stop()
            self._accuracy = self._right(np.arange(len(self._labels)))
        epochs = self._done / self._batches
        return {
            "reached": reached,
            "accuracy": self._accuracy,
            "epochs": epochs,
            "seconds": self._seconds,
            "processor_seconds": self._processor_seconds,
            "epoch_seconds": self._seconds / epochs,
            "epoch_processor_seconds": self._processor_seconds / epochs,
            "looks": self._looks,
        }

    def _stop(self) -> None:
        wall, processor = self._started
        self._seconds += time.monotonic() - wall
        self._processor_seconds += time.process_time() - processor

    def _right(self, positions: np.ndarray) -> float:
        return float((self._predict(positions) == self._labels[positions]).mean())
