"""Cross-validation, for tables too small to hold out a validation set."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from training.batches import EncodedTexts, predict_logits
from training.config import TrainConfig
from training.fit import Fit, cost_of, label_weights, validation_figures
from training.progress import Progress


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Predictions for texts by models that were not trained on them.

    Attributes:
        last_epochs: the epoch of the last phase after which the predictions are best, from 1.
        logits: float32[texts, labels] of that epoch.
        figures: of every epoch of every phase, in order.
    """

    last_epochs: int
    logits: np.ndarray
    figures: list[dict[str, float]]


def cross_validate(
    config: TrainConfig,
    texts: EncodedTexts,
    label_names: tuple[str, ...],
    build: Callable[[EncodedTexts], keras.Model],
    progress: Progress,
) -> OutOfFold:
    """Train on all folds but one, for each fold in turn, and predict the fold that was left out.

    Every phase runs to its end. The best epoch is that of all folds' predictions together, by `config.stop_on`.

    Args:
        config: the run's.
        texts: all texts of the training part.
        label_names: names of labels 0, 1, ...
        build: returns a model to train on given texts.
        progress: receives messages and steps.
    """
    folds = assign_folds(texts.labels, config.data.folds, config.data.split_seed)
    several = int(folds.max()) + 1
    logits = np.zeros((sum(phase.epochs for phase in config.phases), len(folds), len(label_names)), np.float32)
    for fold in range(several):
        seen, left_out = texts.take(np.flatnonzero(folds != fold)), np.flatnonzero(folds == fold)

        def predict(forward: keras.Model, epoch: int, left_out: np.ndarray = left_out) -> None:
            logits[epoch, left_out] = predict_logits(forward, texts.take(left_out).ids)

        weights = label_weights(config, seen.labels, label_names)
        fit = Fit(build(seen), config, seen, None, None, weights=weights, after_epoch=predict)
        fit.run(_OfFold(progress, fold + 1, several), resume=False)
    figures = [validation_figures(each, texts.labels, config.stop_on) for each in logits]
    last = config.phases[-1].epochs
    best = int(np.argmin([cost_of(each, config.stop_on) for each in figures[-last:]]))
    chosen = figures[best - last]
    progress.say(
        f"cross-validation with {several} folds: best after epoch {best + 1} of {last}, "
        f"validation loss {chosen['validation_loss']:.4f} accuracy {chosen['validation_accuracy']:.4f}"
    )
    return OutOfFold(best + 1, logits[best - last], figures)


def assign_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each text, int[texts]: random, and each label spread as evenly as possible."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    assigned = np.zeros(len(labels), np.int64)
    assigned[order] = np.arange(len(labels)) % min(folds, len(labels))
    return assigned


class _OfFold:
    """Passes the bar on under the name of a fold, and no messages.

    Args:
        progress: where the bar is.
        fold: from 1.
        folds: how many there are.
    """

    def __init__(self, progress: Progress, fold: int, folds: int) -> None:
        self._progress = progress
        self._name = f"fold {fold} of {folds}"

    def say(self, message: str) -> None:
        """Ignore the figures of an epoch."""

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        """Move the bar."""
        self._progress.advance(f"{self._name}, {task}", done, total, figures)
