"""Charts of a training run as SVG; the page that holds them gives the colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.measuring.metrics import ReliabilityBin

_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 36
_TICKS = 5


@dataclass(frozen=True, slots=True)
class _Axes:
    """The ranges of a chart: left to right, and bottom to top."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.left) / (self.right - self.left) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - self.low) / (self.high - self.low) * (_HEIGHT - _TOP - _BOTTOM)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> str:
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        return f'<polyline class="{kind}" points="{points}"/>'

    def dot(self, x: float, y: float, radius: float, kind: str, title: str) -> str:
        place = f'cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius:.1f}"'
        return f'<circle class="{kind}" {place}><title>{title}</title></circle>'

    def grid(self, across: Sequence[float], label: str, most: float = np.inf) -> str:
        """Draw the scales: `across` below, evenly spaced values of at most `most` at the left."""
        parts = []
        top = min(self.high, most)
        decimals = 2 if self.high - self.low > 0.1 else 3
        for value in np.linspace(self.low, top, _TICKS):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.{decimals}f}</text>')
        for value in across:
            place = f'x="{self.x(value):.1f}" y="{_HEIGHT - _BOTTOM + 16}"'
            parts.append(f'<text {place} text-anchor="middle">{value:.2g}</text>')
        parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{label}</text>')
        return "".join(parts)


def draw_curves(history: Sequence[dict[str, Any]], figure: str) -> str:
    """Draw a figure of each epoch, in training and validation; a dotted line where a new phase begins."""
    epochs = list(range(1, len(history) + 1))
    series = {
        kind: [(epoch, one[key]) for epoch, one in zip(epochs, history, strict=True) if one.get(key) is not None]
        for kind, key in (("train", f"train_{figure}"), ("validation", f"validation_{figure}"))
    }
    values = [value for points in series.values() for _, value in points]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05
    axes = _Axes(0.5, len(history) + 0.5, low - margin, high + margin)
    most = 1.0 if figure == "accuracy" else np.inf
    parts = [axes.grid(epochs[:: 1 + len(epochs) // 12], "epoch", most)]
    phases = [(one.get("part"), one["phase"]) for one in history]
    for last in range(1, len(history)):
        if phases[last] != phases[last - 1]:
            parts.append(axes.line([last + 0.5] * 2, [axes.low, axes.high], "phase"))
    for kind, points in series.items():
        parts.append(axes.line([x for x, _ in points], [y for _, y in points], kind))
        parts += [axes.dot(x, y, 3, kind, f"{kind}, epoch {x}: {y:.4f}") for x, y in points]
    return _drawing(f"{figure} of each epoch", parts)


def draw_reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Draw accuracy over confidence; the area of a dot is the number of texts in its bin."""
    low = max(0.0, min(min(one.confidence, one.accuracy) for one in bins) - 0.05)
    axes = _Axes(low, 1.02, low, 1.02)
    most = max(one.texts for one in bins)
    parts = [axes.grid(np.linspace(low, 1, _TICKS).tolist(), "confidence", 1.0), axes.line([low, 1], [low, 1], "train")]
    parts.append(axes.line([one.confidence for one in bins], [one.accuracy for one in bins], "validation"))
    for one in bins:
        title = f"{one.texts:,} texts: confidence {one.confidence:.3f}, accuracy {one.accuracy:.3f}"
        parts.append(axes.dot(one.confidence, one.accuracy, 2 + 9 * (one.texts / most) ** 0.5, "validation", title))
    return _drawing("accuracy over confidence", parts)


def _drawing(label: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
