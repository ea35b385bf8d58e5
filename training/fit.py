"""Fit a classifier: phases, early stopping, checkpoints."""

import time

import keras
import numpy as np

from models.calibration import fit_temperature, negative_log_likelihood
from models.classifier import EMBEDDING
from training.batches import EncodedTexts, for_prediction, pad_batch, predict_logits, shuffled_batches
from training.checkpoint import Checkpoint, RunState
from training.config import TrainConfig
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
        validation: texts that decide when to stop.
        checkpoint: saved about every minute and after every epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        config: TrainConfig,
        train: EncodedTexts,
        validation: EncodedTexts,
        checkpoint: Checkpoint,
    ) -> None:
        self._model = with_fused_lstm(keras.Model(model.input, model.output["logits"]))
        # On JAX a training model keeps the current weights to itself, so it has to predict as well.
        self._forward = self._model if keras.backend.backend() == "jax" else for_prediction(self._model)
        self._embedding = next((layer for layer in model.layers if layer.name == EMBEDDING), None)
        self._config = config
        self._train = train
        self._validation = validation
        self._checkpoint = checkpoint
        self._batches = -(-len(train.labels) // config.batch_size)
        self._best: list[np.ndarray] = []
        self.state = RunState()

    def run(self, progress: Progress, *, resume: bool) -> None:
        """Fit all phases; with `resume`, continue from the checkpoint if there is one."""
        resume = resume and self._checkpoint.file.exists()
        if resume:
            self.state, arrays = self._checkpoint.load()
        self._start_phase()
        if resume:
            self._restore(arrays)
        while self.state.phase < len(self._config.phases):
            phase = self._config.phases[self.state.phase]
            while self.state.epoch < phase.epochs and self.state.stale_epochs < phase.patience:
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
            else keras.optimizers.Adam(rate, global_clipnorm=self._config.gradient_norm),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
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
            figures = self._model.train_on_batch(batch, self._train.labels[positions], return_dict=True)
            state.add_batch(len(positions), float(figures["loss"]), float(figures["accuracy"]))
            progress.advance(
                task, step + 1, self._batches, f"loss {state.train_loss:.3f}  accuracy {state.train_accuracy:.3f}"
            )
            if time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                self._save()
                last_saved = time.monotonic()

    def _end_epoch(self, progress: Progress) -> None:
        """Validate, and keep the weights if they are the best so far."""
        state = self.state
        logits = predict_logits(self._forward, self._validation.ids)
        # Saved models are calibrated, so overconfidence is no reason to stop.
        temperature = fit_temperature(logits, self._validation.labels)
        loss = negative_log_likelihood(logits, self._validation.labels, temperature)
        accuracy = float((logits.argmax(axis=1) == self._validation.labels).mean())
        progress.say(
            f"phase {state.phase + 1} epoch {state.epoch + 1}: train loss {state.train_loss:.4f} "
            f"accuracy {state.train_accuracy:.4f}, validation loss {loss:.4f} accuracy {accuracy:.4f}"
        )
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.stale_epochs = loss, 0
            self._best = self._model.get_weights()
        else:
            state.stale_epochs += 1
        state.end_epoch(
            {
                "phase": state.phase + 1,
                "epoch": state.epoch + 1,
                "train_loss": state.train_loss,
                "train_accuracy": state.train_accuracy,
                "validation_loss": loss,
                "validation_accuracy": accuracy,
            }
        )
        self._save()

    def _variables(self) -> list[keras.Variable]:
        return [*self._model.variables, *self._model.optimizer.variables]

    def _save(self) -> None:
        values = [keras.ops.convert_to_numpy(variable.value) for variable in self._variables()]
        self._checkpoint.save(self.state, {"state": values, "best": self._best})

    def _restore(self, arrays: dict[str, list[np.ndarray]]) -> None:
        self._best = arrays.get("best", [])
        if self.state.phase == len(self._config.phases):
            self._model.set_weights(self._best)
            return
        for variable, value in zip(self._variables(), arrays["state"], strict=True):
            variable.assign(value)
