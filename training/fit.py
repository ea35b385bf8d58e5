"""Fitting the weights: phases, early stopping, checkpoints."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from models.calibration import fit_temperature, negative_log_likelihood
from models.classifier import EMBEDDING
from training.batches import pad_batch, shuffled_batches
from training.checkpoint import Checkpoint, Progress
from training.config import TrainConfig
from training.forward import compiled, predict_logits, trains_compiled
from training.ngrams import TableAdagrad
from training.optimizer import make_adam
from training.recurrence import with_fused_recurrence

CHECKPOINT_SECONDS = 60.0
_FINAL_RATE = 0.1  # of the learning rate, at the end of a phase

OnStep = Callable[[int, int, float, float], None]  # batches done, batches of the epoch, loss, accuracy
OnEpoch = Callable[[dict[str, float | int | str]], None]


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Texts as a model reads them: ids int32[tokens] each, labels int32[texts]."""

    ids: Sequence[np.ndarray]
    labels: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """int[texts], in tokens."""
        return np.array([len(one) for one in self.ids])


class Fit:
    """Trains `model` in place, phase by phase; afterwards it holds the best weights of the last phase.

    The order of the batches depends on the seed, phase and epoch alone, and a checkpoint holds weights, optimizer and
    dropout seeds, so a run that was killed ends where the unbroken one would have.

    Args:
        model: from `build_classifier`; never compiled itself.
        config: phases, batch size, rates.
        train: what is learned from.
        validation: what decides when to stop.
        checkpoint: where the run is kept; saved about every minute and after every epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        config: TrainConfig,
        train: EncodedTexts,
        validation: EncodedTexts,
        checkpoint: Checkpoint,
    ) -> None:
        self._net = with_fused_recurrence(keras.Model(model.input, model.output["logits"]))
        self._compile = trains_compiled(config)
        # On TensorFlow another model of the same variables reads; on JAX a model that trains keeps them to itself.
        self._reader = self._net if keras.backend.backend() == "jax" else compiled(self._net)
        layers = {layer.name: layer for layer in model.layers}
        self._embedding = layers.get(EMBEDDING)
        self._config = config
        self._train = train
        self._validation = validation
        self._checkpoint = checkpoint
        self._batches = -(-len(train.labels) // config.batch_size)
        self._best: list[np.ndarray] = []
        self.progress = Progress()

    def run(self, *, resume: bool, on_step: OnStep, on_epoch: OnEpoch) -> None:
        """Fit all phases, or with `resume` what the checkpoint leaves of them."""
        if resume:
            self.progress, arrays = self._checkpoint.load()
        if self.progress.phase < len(self._config.phases):
            self._start_phase()
        if resume:
            self._restore(arrays)
        while self.progress.phase < len(self._config.phases):
            phase = self._config.phases[self.progress.phase]
            while self.progress.epoch < phase.epochs and self.progress.stale_epochs < phase.patience:
                self._run_epoch(on_step)
                on_epoch(self._end_epoch())
            self._net.set_weights(self._best)
            self.progress.end_phase()
            if self.progress.phase < len(self._config.phases):
                self._start_phase()
            self._save()

    def _start_phase(self) -> None:
        phase = self._config.phases[self.progress.phase]
        if self._embedding is not None:
            self._embedding.trainable = phase.train_embedding
        rate = keras.optimizers.schedules.CosineDecay(
            phase.learning_rate, self._batches * phase.epochs, alpha=_FINAL_RATE
        )
        ngrams = self._config.ngrams
        self._net.compile(
            optimizer=TableAdagrad(rate, attention_rate=ngrams.attention_rate, pull=ngrams.pull)
            if ngrams
            else make_adam(rate, gradient_norm=self._config.gradient_norm),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=self._compile,
        )
        self._net.optimizer.build(self._net.trainable_variables)

    def _run_epoch(self, on_step: OnStep) -> None:
        generator = np.random.default_rng([self._config.seed, self.progress.phase, self.progress.epoch])
        last_saved = time.monotonic()
        for step, positions in enumerate(shuffled_batches(self._train.lengths, self._config.batch_size, generator)):
            if step < self.progress.step:
                continue
            batch = pad_batch([self._train.ids[i] for i in positions])
            self._net.reset_metrics()
            figures = self._net.train_on_batch(batch, self._train.labels[positions], return_dict=True)
            self.progress.add_batch(len(positions), float(figures["loss"]), float(figures["accuracy"]))
            on_step(step + 1, self._batches, self.progress.train_loss, self.progress.train_accuracy)
            if time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                self._save()
                last_saved = time.monotonic()

    def _end_epoch(self) -> dict[str, float | int | str]:
        """Measure the weights on validation and keep them if they are the best."""
        logits = predict_logits(self._reader, self._validation.ids)
        # What is saved is calibrated, so being too sure of itself is no reason to stop.
        temperature = fit_temperature(logits, self._validation.labels)
        loss = negative_log_likelihood(logits, self._validation.labels, temperature)
        entry: dict[str, float | int | str] = {
            "phase": self.progress.phase + 1,
            "epoch": self.progress.epoch + 1,
            "train_loss": self.progress.train_loss,
            "train_accuracy": self.progress.train_accuracy,
            "validation_loss": loss,
            "validation_accuracy": float((logits.argmax(axis=1) == self._validation.labels).mean()),
        }
        if self.progress.best_loss is None or loss < self.progress.best_loss:
            self.progress.best_loss, self.progress.stale_epochs = loss, 0
            self._best = self._net.get_weights()
        else:
            self.progress.stale_epochs += 1
        self.progress.end_epoch(entry)
        self._save()
        return entry

    def _state(self) -> list[keras.Variable]:
        return [*self._net.variables, *self._net.optimizer.variables]

    def _save(self) -> None:
        state = [keras.ops.convert_to_numpy(variable.value) for variable in self._state()]
        self._checkpoint.save(self.progress, {"state": state, "best": self._best})

    def _restore(self, arrays: dict[str, list[np.ndarray]]) -> None:
        self._best = arrays.get("best", [])
        if self.progress.phase < len(self._config.phases):
            for variable, value in zip(self._state(), arrays["state"], strict=True):
                variable.assign(value)
        else:
            self._net.set_weights(self._best)
