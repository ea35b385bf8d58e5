from typing import Any

import numpy as np
import pytest

from benchmarks.train import PARTS, table, times_of
from benchmarks.trainers import plain_keras, stopwatch
from benchmarks.trainers.ours import CONFIGS
from benchmarks.trainers.reviews import Reviews
from benchmarks.trainers.stopwatch import GoalReached, Stopwatch
from training.config import read_config

LABELS = np.tile([0, 1], 5000)


class Learner:
    """Says more and more rightly, but at the first that it is asked of all texts."""

    def __init__(self) -> None:
        self.share, self.asked = 0.5, []

    def predict(self, positions: np.ndarray) -> np.ndarray:
        self.asked.append(len(positions))
        share = 0.8 if self.asked.count(len(LABELS)) == 1 and len(positions) == len(LABELS) else self.share
        return np.where(np.arange(len(positions)) < share * len(positions), LABELS[positions], 1 - LABELS[positions])


def test_it_stops_once_all_texts_confirm_the_goal_and_measuring_is_not_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: now)
    monkeypatch.setattr(stopwatch.time, "process_time", lambda: 2 * now)
    learner = Learner()

    def predict(positions: np.ndarray) -> np.ndarray:
        nonlocal now
        now += 1000
        return learner.predict(positions)

    watch = Stopwatch(LABELS, predict, batches=10)
    for batch in range(19):
        now += 1
        learner.share = 0.5 + batch / 40
        watch.batch_done()
    now, learner.share = now + 1, 0.975
    with pytest.raises(GoalReached):
        watch.batch_done()
    figures = watch.figures()
    assert learner.asked == [stopwatch.QUICK_LOOK] * 7 + [len(LABELS), stopwatch.QUICK_LOOK, len(LABELS)]
    assert figures["reached"]
    assert figures["accuracy"] == pytest.approx(0.975)
    assert figures["seconds"] == figures["processor_seconds"] / 2 == 20
    assert figures["epochs"] == 2
    assert [look["seconds"] for look in figures["looks"]] == [3, 5, 8, 10, 13, 15, 18, 20]


def test_who_gives_up_is_measured_all_the_same() -> None:
    watch = Stopwatch(LABELS, Learner().predict, batches=10)
    for _ in range(5):
        watch.batch_done()
    figures = watch.figures()
    assert not figures["reached"]
    assert (figures["epochs"], figures["accuracy"]) == (0.5, 0.8)


@pytest.mark.parametrize("encoder", ["convolution", "bilstm"])
def test_the_plain_script_learns(encoder: str) -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 96).astype(np.int32)
    ids = [np.concatenate((generator.integers(4, 20, 8), np.full(8, 2 + label))).astype(np.int32) for label in labels]
    reviews = Reviews(ids, labels, ids, labels, 20, 0.0, 0.0)
    figures = plain_keras.train(encoder, reviews, 1, batch_size=4, epochs=2)
    assert figures["reached"]
    assert 0 < figures["epochs"] <= 2
    assert figures["seconds"] > 0


def run(seconds: float, **changes: Any) -> dict[str, Any]:
    stages = ("tokenizing_", "vectors_", "")
    times = {f"{stage}{what}": seconds for stage in stages for what in ("seconds", "processor_seconds")}
    return {**times, "reached": True, "accuracy": 0.9, "epochs": 1.5, "epoch_seconds": seconds / 1.5, **changes}


def test_the_table_compares_with_the_plain_script_of_the_same_encoder() -> None:
    found = {"default": [run(10), run(30)], "keras-bilstm": [run(100)], "torch-bilstm": [run(50, reached=False)]}
    ours, keras, torch = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table(found).splitlines()[2:])
    assert ours == ["ours, `default.toml`", "bilstm", "13", "1.50", "20", "20", "20", "60", "60", "0.9000", "5.0"]
    assert keras[-1] == "1.0"
    assert (torch[3], torch[-1]) == ("over 1.50", "")
    given_up = {"default": [run(10)], "keras-bilstm": [run(100, reached=False)]}
    assert table(given_up).splitlines()[2].endswith("| at least 10.0 |")
    assert times_of("default", given_up) == 10
    assert times_of("default", {"default": [run(10)]}) is None
    assert times_of("default", {"default": [run(10, reached=False)], "keras-bilstm": [run(100)]}) is None


@pytest.mark.parametrize("name", [name for name, part in PARTS.items() if part.trainer == "ours"])
def test_our_parts_are_configurations_with_the_encoder_they_say(name: str) -> None:
    assert read_config(CONFIGS / f"{name}.toml").model["encoder"] == PARTS[name].encoder
