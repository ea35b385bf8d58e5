"""The scales of charts, and where a new phase begins."""

import re

from training.measuring.charts import draw_curves, draw_reliability
from training.measuring.metrics import ReliabilityBin


def scale_of(drawing: str) -> list[float]:
    """Return the values at the left of a chart."""
    return [float(value) for value in re.findall(r'text-anchor="end">([\d.]+)<', drawing)]


def test_no_scale_of_a_share_goes_beyond_1() -> None:
    history = [{"phase": 1, "train_accuracy": 0.9 + place / 20, "validation_accuracy": 0.8} for place in range(3)]
    assert max(scale_of(draw_curves(history, "accuracy"))) == 1
    bins = [ReliabilityBin(9, 0.6, 0.5), ReliabilityBin(9, 0.95, 1.0)]
    assert max(scale_of(draw_reliability(bins))) == 1


def test_a_loss_may_be_above_1() -> None:
    history = [{"phase": 1, "train_loss": 2.0 - place} for place in range(2)]
    assert max(scale_of(draw_curves(history, "loss"))) > 1


def test_a_line_begins_a_phase_and_the_part_of_a_hybrid() -> None:
    one = {"train_loss": 0.5}
    phases = [{"part": "ngrams", "phase": 1}, {"part": "states", "phase": 1}, {"part": "states", "phase": 2}]
    drawing = draw_curves([one | phase for phase in phases], "loss")
    assert drawing.count('class="phase"') == 2
    assert draw_curves([one | {"phase": 1}] * 3, "loss").count('class="phase"') == 0
