"""Checkpoints, from which a stopped run resumes."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training import ResumeError

CHECKPOINT_FILE = "checkpoint.npz"
VECTORS_FILE = "vectors.npy"
_IDENTITY = "run.json"


@dataclass(slots=True)
class RunState:
    """Position of a run, and the figures so far.

    Attributes:
        phase: index of the current phase.
        epoch: finished epochs of that phase.
        step: finished batches of the current epoch.
        best: lowest validation loss of the phase, or whatever else decides when to stop; None before the first.
        stale_epochs: epochs since then.
        texts: texts trained on in the current epoch.
        loss_sum: sum of their losses.
        right: how many of them were classified correctly.
        history: one entry per finished epoch.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    best: float | None = None
    stale_epochs: int = 0
    texts: int = 0
    loss_sum: float = 0.0
    right: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def train_loss(self) -> float:
        """Return the mean loss of the current epoch so far."""
        return self.loss_sum / self.texts

    @property
    def train_accuracy(self) -> float:
        """Return the accuracy of the current epoch so far."""
        return self.right / self.texts

    def add_batch(self, texts: int, loss: float, accuracy: float) -> None:
        """Count a finished batch with its mean loss and accuracy."""
        self.step += 1
        self.texts += texts
        self.loss_sum += texts * loss
        self.right += texts * accuracy

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Add `entry` to the history and start the next epoch."""
        self.history.append(entry)
        self.epoch, self.step = self.epoch + 1, 0
        self.texts, self.loss_sum, self.right = 0, 0.0, 0.0

    def end_phase(self) -> None:
        """Start the next phase."""
        self.phase, self.epoch = self.phase + 1, 0
        self.best, self.stale_epochs = None, 0


class Checkpoint:
    """One file that holds the state of a run and all its arrays, replaced atomically."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def save(self, state: RunState, arrays: dict[str, Sequence[np.ndarray]]) -> None:
        """Replace the checkpoint; a crash meanwhile leaves the previous one."""
        flat = {f"{name}/{i}": array for name, group in arrays.items() for i, array in enumerate(group)}
        flat["progress"] = np.array(json.dumps(asdict(state)))
        partial = self.file.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **flat)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, self.file)

    def load(self) -> tuple[RunState, dict[str, list[np.ndarray]]]:
        """Return what `save` wrote; an empty group of arrays is missing."""
        arrays: dict[str, list[np.ndarray]] = {}
        with np.load(self.file, allow_pickle=False) as stored:
            for name in stored.files:
                if "/" in name:
                    arrays.setdefault(name.split("/")[0], []).append(stored[name])
            return RunState(**json.loads(str(stored["progress"]))), arrays


def checkpoint_of(folder: Path, member: str = "") -> Path:
    """Return the place of the checkpoint of a run, or of a model that is trained within it."""
    return folder / (f"{member}.{CHECKPOINT_FILE}" if member else CHECKPOINT_FILE)


def check_work_folder(folder: Path, *, resume: bool, restart: bool) -> None:
    """Check that a run may begin in `folder`.

    Raises:
        ResumeError: there is nothing to resume, or a stopped run that is neither resumed nor given up.
    """
    if resume and restart:
        raise ResumeError("expected --resume or --restart. Received both.")
    if resume and not holds_run(folder):
        raise ResumeError(f"{folder}: expected the folder of a stopped run. Found none: start without --resume.")
    if not (resume or restart) and folder.exists() and any(each.name != _IDENTITY for each in folder.iterdir()):
        raise ResumeError(
            f"{folder}: holds a stopped run. Repeat the command of that run with --resume to continue it, or give "
            "--restart to throw it away (with make: RESUME=1 or RESTART=1)."
        )


def holds_run(folder: Path) -> bool:
    """Return whether `folder` is that of a stopped run, which can be resumed."""
    return (folder / _IDENTITY).exists()


def how_to_resume(folder: Path) -> str:
    """Return a sentence on how to resume the run in `folder`; an empty string without a run."""
    if not holds_run(folder):
        return ""
    return f"To resume, repeat the command with --resume (with make: RESUME=1); the run is kept in {folder}."


def open_work_folder(folder: Path, run: dict[str, Any], *, resume: bool, restart: bool = False) -> None:
    """Create the work folder of a run, or check that it belongs to the run to resume.

    Args:
        run: what identifies the run: its configuration and the fingerprint of its data.
        resume: continue the run in `folder`.
        restart: throw away the run in `folder`, if there is one.

    Raises:
        ResumeError: there is nothing to resume, a run of another configuration or data, or a stopped run that is
            neither resumed nor given up.
    """
    check_work_folder(folder, resume=resume, restart=restart)
    identity = folder / _IDENTITY
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        identity.write_text(json.dumps(run), encoding="utf-8")
    elif json.loads(identity.read_text(encoding="utf-8")) != run:
        raise ResumeError(
            f"{folder}: expected a stopped run of this configuration, seed and data. Found another one: repeat the "
            "arguments of the stopped run, or give --restart instead of --resume to throw it away."
        )
