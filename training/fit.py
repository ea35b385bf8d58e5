"""Fit a classifier: phases, early stopping, checkpoints."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from models.calibration import fit_temperature, negative_log_likelihood
from models.classifier import EMBEDDING
from training import ConfigError
from training.batches import EncodedTexts, for_prediction, pad_batch, predict_logits, shuffled_batches
from training.checkpoint import Checkpoint, RunState
from training.config import TrainConfig
from training.measuring.metrics import confusion, macro_f1
from training.ngrams import TableAdagrad
from training.progress import Progress
from training.speedups import trains_with_xla, with_fused_lstm

CHECKPOINT_SECONDS = 60.0
_FINAL_RATE = 0.1  # of the learning rate, at the end of a phase


class Fit:
    """Train `model` in place, phase by phase; it ends with the best weights of the last phase.

    The order of batches depends on seed, phase and epoch alone, and a checkpoint holds weights, optimizer and dropout
    seeds, so a run that was killed and resumed ends with the weights of an uninterrupted one.

    Args:
        model: from `build_classifier`; it is never compiled itself.
        config: phases, batch size, learning rates.
        train: texts to learn from.
        validation: texts that decide when to stop; None runs every phase to its end and keeps the last weights.
        checkpoint: saved about every minute and after every epoch, if given.
        weights: float32[labels], weight of each label in the loss; None weighs all alike.
        last_epochs: epochs of the last phase to run, of those that set its learning rates; None runs all.
        after_epoch: called after every epoch with a model that predicts, and the number of epochs before.
    """

    def __init__(
        self,
        model: keras.Model,
        config: TrainConfig,
        train: EncodedTexts,
        validation: EncodedTexts | None,
        checkpoint: Checkpoint | None,
        *,
        weights: np.ndarray | None = None,
        last_epochs: int | None = None,
        after_epoch: Callable[[keras.Model, int], None] | None = None,
    ) -> None:
        self._model = with_fused_lstm(keras.Model(model.input, model.output["logits"]))
        # On JAX a training model keeps the current weights to itself, so it has to predict as well.
        self._forward = self._model if keras.backend.backend() == "jax" else for_prediction(self._model)
        self._embedding = next((layer for layer in model.layers if layer.name == EMBEDDING), None)
        self._config = config
        self._train = train
        self._validation = validation
        self._checkpoint = checkpoint
        self._targets = train.targets(model.output["logits"].shape[-1])  # [texts, labels]
        self._weights = _text_weights(train, self._targets, weights)
        self._epochs = [phase.epochs for phase in config.phases]
        self._epochs[-1] = last_epochs or self._epochs[-1]
        self._after_epoch = after_epoch
        self._batches = -(-len(train.labels) // config.batch_size)
        self._best: list[np.ndarray] = []
        self.state = RunState()

    def run(self, progress: Progress, *, resume: bool) -> None:
        """Fit all phases; with `resume`, continue from the checkpoint if there is one."""
        saved = self._checkpoint.load() if resume and self._checkpoint and self._checkpoint.file.exists() else None
        if saved is not None:
            self.state = saved[0]
        self._start_phase()
        if saved is not None:
            self._restore(saved[1])
        while self.state.phase < len(self._config.phases):
            epochs, patience = self._epochs[self.state.phase], self._config.phases[self.state.phase].patience
            while self.state.epoch < epochs and self.state.stale_epochs < patience:
                self._run_epoch(progress)
                self._end_epoch(progress)
            self._model.set_weights(self._best)
            self.state.end_phase()
            self._start_phase()
            self._save()

    def _start_phase(self) -> None:
        """Compile with the optimizer of the current phase, unless the last one is over."""
        if self.state.phase == len(self._config.phases):
            return
        phase = self._config.phases[self.state.phase]
        if self._embedding is not None:
            self._embedding.trainable = phase.train_embedding
        rate = keras.optimizers.schedules.CosineDecay(
            phase.learning_rate, self._batches * phase.epochs, alpha=_FINAL_RATE
        )
        ngrams = self._config.ngrams
        self._model.compile(
            optimizer=TableAdagrad(rate, attention_rate=ngrams.attention_rate, pull=ngrams.pull)
            if ngrams
            else keras.optimizers.Adam(
                rate, global_clipnorm=self._config.gradient_norm, use_ema=phase.average > 0, ema_momentum=phase.average
            ),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=trains_with_xla(self._config),
        )
        self._model.optimizer.build(self._model.trainable_variables)

    def _run_epoch(self, progress: Progress) -> None:
        state = self.state
        task = f"epoch {state.epoch + 1}, phase {state.phase + 1}"
        generator = np.random.default_rng([self._config.seed, state.phase, state.epoch])
        last_saved = time.monotonic()
        for step, positions in enumerate(shuffled_batches(self._train.lengths, self._config.batch_size, generator)):
            if step < state.step:  # done before the run was stopped
                continue
            batch = pad_batch([self._train.ids[i] for i in positions])  # [texts, tokens]
            self._model.reset_metrics()
            weights = None if self._weights is None else self._weights[positions]
            figures = self._model.train_on_batch(
                batch, self._targets[positions], sample_weight=weights, return_dict=True
            )
            state.add_batch(len(positions), float(figures["loss"]), float(figures["accuracy"]))
            progress.advance(
                task, step + 1, self._batches, f"loss {state.train_loss:.3f}  accuracy {state.train_accuracy:.3f}"
            )
            if time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                self._save()
                last_saved = time.monotonic()

    def _end_epoch(self, progress: Progress) -> None:
        """Validate, and keep the weights if they are the best so far; with `average`, their running mean."""
        state = self.state
        averaged = self._config.phases[state.phase].average > 0
        last = self._model.get_weights() if averaged else []
        if averaged:
            self._model.optimizer.finalize_variable_values(self._model.trainable_variables)
            self._model.set_weights(self._model.get_weights())  # on JAX they would be the optimizer's own arrays
        entry = {
            "phase": state.phase + 1,
            "epoch": state.epoch + 1,
            "train_loss": state.train_loss,
            "train_accuracy": state.train_accuracy,
        }
        if self._validation is not None:
            logits = predict_logits(self._forward, self._validation.ids)
            entry |= validation_figures(logits, self._validation.labels, self._config.stop_on)
        progress.say(_line(entry))
        cost = cost_of(entry, self._config.stop_on) if self._validation is not None else None
        if cost is None or state.best is None or cost < state.best:
            state.best, state.stale_epochs = cost, 0
            self._best = self._model.get_weights()
        else:
            state.stale_epochs += 1
        if self._after_epoch is not None:
            self._after_epoch(self._forward, len(state.history))
        if averaged:
            self._model.set_weights(last)
        state.end_epoch(entry)
        self._save()

    def _variables(self) -> list[keras.Variable]:
        return [*self._model.variables, *self._model.optimizer.variables]

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        values = [keras.ops.convert_to_numpy(variable.value) for variable in self._variables()]
        self._checkpoint.save(self.state, {"state": values, "best": self._best})

    def _restore(self, arrays: dict[str, list[np.ndarray]]) -> None:
        self._best = arrays.get("best", [])
        if self.state.phase == len(self._config.phases):
            self._model.set_weights(self._best)
            return
        for variable, value in zip(self._variables(), arrays["state"], strict=True):
            variable.assign(value)


def validation_figures(logits: np.ndarray, labels: np.ndarray, stop_on: str) -> dict[str, float]:
    """Return the figures of an epoch on validation, with the measure that decides when to stop."""
    # Saved models are calibrated, so overconfidence is no reason to stop.
    loss = negative_log_likelihood(logits, labels, fit_temperature(logits, labels))
    predicted = logits.argmax(axis=1)
    figures = {"validation_loss": loss, "validation_accuracy": float((predicted == labels).mean())}
    if stop_on == "macro_f1":
        figures["validation_macro_f1"] = macro_f1(confusion(predicted, labels, logits.shape[1]))
    return figures


def cost_of(figures: dict[str, Any], stop_on: str) -> float:
    """Return the measure that decides when to stop; less is better."""
    return -float(figures["validation_macro_f1"]) if stop_on == "macro_f1" else float(figures["validation_loss"])


def _text_weights(texts: EncodedTexts, targets: np.ndarray, of_labels: np.ndarray | None) -> np.ndarray | None:
    """Return the weight of each text in the loss, float32[texts]; None if all weigh alike."""
    if of_labels is None:
        return texts.weights
    by_label: np.ndarray = targets @ of_labels
    return by_label if texts.weights is None else by_label * texts.weights


def label_weights(config: TrainConfig, labels: np.ndarray, names: Sequence[str]) -> np.ndarray | None:
    """Return the weight of each label in the loss, float32[labels], with mean 1 over `labels`; None weighs all alike.

    Raises:
        ConfigError: `class_weight` names a label that there is not.
    """
    if config.class_weight is None:
        return None
    counts = np.bincount(labels, minlength=len(names))
    if config.class_weight == "balanced":
        weights = 1.0 / np.maximum(counts, 1)
    else:
        if unknown := sorted(config.class_weight.keys() - set(names)):
            raise ConfigError(f"class_weight: expected labels of the data, {list(names)}. Received {unknown}.")
        weights = np.array([config.class_weight.get(name, 1.0) for name in names])
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), np.float32)


def _line(entry: dict[str, Any]) -> str:
    line = (
        f"phase {entry['phase']} epoch {entry['epoch']}: train loss {entry['train_loss']:.4f} "
        f"accuracy {entry['train_accuracy']:.4f}"
    )
    if "validation_loss" in entry:
        line += f", validation loss {entry['validation_loss']:.4f} accuracy {entry['validation_accuracy']:.4f}"
    if "validation_macro_f1" in entry:
        line += f" macro-F1 {entry['validation_macro_f1']:.4f}"
    return line
