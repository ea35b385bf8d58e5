"""A stopped run, so that it can go on where it was."""

import json
import os
import shutil
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
        best_loss: lowest calibrated validation loss of the phase; None before the first.
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
    """One file that is replaced as a whole: where a run stands, and every number it stands on."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def save(self, progress: Progress, arrays: dict[str, Sequence[np.ndarray]]) -> None:
        """Replace the checkpoint; a crash meanwhile leaves the one before."""
        flat = {f"{name}/{i}": array for name, group in arrays.items() for i, array in enumerate(group)}
        flat["progress"] = np.array(json.dumps(asdict(progress)))
        partial = self.file.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **flat)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, self.file)

    def load(self) -> tuple[Progress, dict[str, list[np.ndarray]]]:
        """What `save` wrote; arrays that it was given none of are not there."""
        arrays: dict[str, list[np.ndarray]] = {}
        with np.load(self.file, allow_pickle=False) as stored:
            for name in stored.files:
                if "/" in name:
                    arrays.setdefault(name.split("/")[0], []).append(stored[name])
            return Progress(**json.loads(str(stored["progress"]))), arrays


def open_work_folder(folder: Path, run: dict[str, Any], *, resume: bool) -> Path:
    """The folder where a run keeps what it needs to go on: a new one, or that of the stopped run.

    Args:
        run: what identifies the run: its configuration and the fingerprint of its data.

    Raises:
        ResumeError: `resume` is asked for and there is no stopped run, or one with another configuration or data.
    """
    identity = folder / "run.json"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        identity.write_text(json.dumps(run), encoding="utf-8")
    elif not identity.exists():
        raise ResumeError(f"{folder}: expected the folder of a stopped run. Found none: start without --resume.")
    elif json.loads(identity.read_text(encoding="utf-8")) != run:
        raise ResumeError(
            f"{folder}: expected a stopped run of this configuration, seed and data. Found another one: give what the "
            "stopped run was given, or start without --resume."
        )
    return folder
