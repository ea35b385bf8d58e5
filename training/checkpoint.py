"""A stopped run, so that it can go on where it was."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import ResumeError


@dataclass(slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        phase: index of the phase at work.
        epoch: epochs of that phase that are done.
        step: batches of the epoch at work that are done.
        best_loss: lowest validation loss of the phase; None before the first.
        stale_epochs: epochs since then.
        texts: texts of the epoch at work that were trained on.
        loss_sum: sum of their losses.
        right: how many of them were labelled rightly.
        history: one entry an epoch that is done.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    best_loss: float | None = None
    stale_epochs: int = 0
    texts: int = 0
    loss_sum: float = 0.0
    right: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def train_loss(self) -> float:
        """Mean over the texts of the epoch so far."""
        return self.loss_sum / self.texts

    @property
    def train_accuracy(self) -> float:
        """Share of the texts of the epoch so far."""
        return self.right / self.texts

    def add_batch(self, texts: int, loss: float, accuracy: float) -> None:
        """One more batch is done, with its mean loss and accuracy."""
        self.step += 1
        self.texts += texts
        self.loss_sum += texts * loss
        self.right += texts * accuracy

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """The epoch at work is done, and this is to be remembered of it."""
        self.history.append(entry)
        self.epoch, self.step = self.epoch + 1, 0
        self.texts, self.loss_sum, self.right = 0, 0.0, 0.0

    def end_phase(self) -> None:
        """The phase at work is done."""
        self.phase, self.epoch = self.phase + 1, 0
        self.best_loss, self.stale_epochs = None, 0


class Checkpoint:
    """One file that is replaced as a whole: where the run stands, and every number it stands on.

    Args:
        file: where it lies.
        run: what identifies the run, configuration and data; a checkpoint of another run is refused.
    """

    def __init__(self, file: Path, run: dict[str, Any]) -> None:
        self.file = file
        self._run = json.dumps(run, sort_keys=True)

    def save(self, progress: Progress, arrays: dict[str, Sequence[np.ndarray]]) -> None:
        """Replace the checkpoint; a crash meanwhile leaves the one before."""
        partial = self.file.with_suffix(".partial")
        flat = {f"{name}/{i}": array for name, group in arrays.items() for i, array in enumerate(group)}
        flat |= {"run": np.array(self._run), "progress": np.array(json.dumps(asdict(progress)))}
        with partial.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **flat)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, self.file)

    def load(self) -> tuple[Progress, dict[str, list[np.ndarray]]]:
        """What `save` wrote.

        Raises:
            ResumeError: there is none, or it is of a run with another configuration or other data.
        """
        if not self.file.exists():
            raise ResumeError(
                f"{self.file}: expected a checkpoint of a stopped run. Found none: start without --resume."
            )
        with np.load(self.file, allow_pickle=False) as stored:
            if str(stored["run"]) != self._run:
                raise ResumeError(
                    f"{self.file}: expected a checkpoint of this configuration, data and seed. Received one of "
                    "another run: give what the stopped run was given, or start without --resume."
                )
            progress = Progress(**json.loads(str(stored["progress"])))
            arrays: dict[str, list[np.ndarray]] = {}
            for name in stored.files:
                if "/" in name:
                    arrays.setdefault(name.split("/")[0], []).append(stored[name])
        return progress, arrays
