"""Fit the classifier of a configuration: one model, or the two paths of a hybrid."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.attending import NGRAMS
from models.classifier import EMBEDDING, build_classifier
from models.config import ClassifierConfig
from training.batches import EncodedTexts, for_prediction, predict_logits
from training.checkpoint import Checkpoint, checkpoint_of
from training.config import TrainConfig
from training.fit import Fit, label_weights
from training.fitting.hybrid import join, parts_of, tables_of
from training.folds import OutOfFold, cross_validate
from training.ngrams import start_at_naive_bayes
from training.prepare import Prepared
from training.progress import Progress


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model, and its predictions for held-out texts.

    Attributes:
        model: the model.
        history: figures of every epoch; those of a hybrid name their part.
        logits: float32[texts, labels], of texts that were not trained on: validation, or all by cross-validation.
        labels: int[texts], the labels of these.
        processor_seconds: of the fit, since the run began or resumed.
        rounding: what tables of few bits cost: accuracy on held-out texts before and after, and the largest change of a
            logit; None: nothing was rounded.
    """

    model: keras.Model
    history: list[dict[str, Any]]
    logits: np.ndarray
    labels: np.ndarray
    processor_seconds: float
    rounding: dict[str, float] | None = None


def fit_classifier(
    config: TrainConfig,
    label_names: tuple[str, ...],
    prepared: Prepared,
    work: Path,
    *,
    resume: bool,
    progress: Progress,
    member: str = "",
) -> Fitted:
    """Train the classifier of `config` on prepared texts, after cross-validation if there is no validation set.

    Args:
        config: of the run, or of a member of it.
        label_names: names of labels 0, 1, ...
        prepared: texts and word vectors.
        work: folder of the checkpoints.
        resume: continue from the checkpoints that are there.
        progress: receives messages and steps.
        member: name of the model within the run; empty for the run's own.
    """
    architecture = config.classifier(vocabulary_size=prepared.tokenizer.vocabulary_size, labels=len(label_names))
    if architecture.ngrams is None:
        return _fit_one(config, architecture, label_names, prepared, work, member, resume=resume, progress=progress)
    parts: dict[str, Fitted] = {}
    for name, part in parts_of(config).items():
        progress.say(f"{name}:")
        # Short texts and made ones teach n-grams little but their frames.
        learned = replace(prepared, train=prepared.train.found()) if name == NGRAMS else prepared
        parts[name] = fit_classifier(
            part, label_names, learned, work, resume=resume, progress=progress, member=f"{member}{name}"
        )
    model, logits = join(
        architecture,
        {name: part.model for name, part in parts.items()},
        {name: part.logits for name, part in parts.items()},
    )
    return Fitted(
        model,
        [{"part": name, **entry} for name, part in parts.items() for entry in part.history],
        logits,
        parts[NGRAMS].labels,
        sum(part.processor_seconds for part in parts.values()),
    )


def _fit_one(
    config: TrainConfig,
    architecture: ClassifierConfig,
    label_names: tuple[str, ...],
    prepared: Prepared,
    work: Path,
    member: str,
    *,
    resume: bool,
    progress: Progress,
) -> Fitted:
    coded = architecture.attention.get("bits", 32) != 32  # its tables are trained in 32 bits
    trained = replace(architecture, attention={**architecture.attention, "bits": 32}) if coded else architecture

    def build(texts: EncodedTexts) -> keras.Model:
        model = build_classifier(trained)
        if config.vectors and prepared.vectors is not None and not config.ngrams:
            model.get_layer(EMBEDDING).set_weights([prepared.vectors])
        if prepared.start is not None and not config.ngrams:
            for layer in model.layers:
                layer.set_weights(prepared.start.get_layer(layer.name).get_weights())
        if config.ngrams:
            weights = label_weights(config, texts.labels, label_names)
            start_at_naive_bayes(model, config.ngrams, texts.ids, texts.targets(len(label_names)), weights)
        return model

    started = time.process_time()
    keras.utils.set_random_seed(config.seed)  # each member by itself, so that resuming changes nothing
    train, validation = prepared.train, prepared.validation
    out_of_fold: OutOfFold | None = None
    if not len(validation.labels):
        out_of_fold = cross_validate(config, train, label_names, build, progress)
        keras.utils.set_random_seed(config.seed)  # as if there had been no folds, on resuming too
    model = build(train)
    fit = Fit(
        model,
        config,
        train,
        None if out_of_fold else validation,
        Checkpoint(checkpoint_of(work, member)),
        weights=label_weights(config, train.labels, label_names),
        last_epochs=out_of_fold.last_epochs if out_of_fold else None,
    )
    fit.run(progress, resume=resume)
    finished = _with_codes(model, architecture) if coded else model
    seconds = time.process_time() - started
    if out_of_fold is None:
        logits = predict_logits(for_prediction(finished), validation.ids)
        rounding = None
        if coded:
            rounding = _rounding(predict_logits(for_prediction(model), validation.ids), logits, validation.labels)
        return Fitted(finished, fit.state.history, logits, validation.labels, seconds, rounding)
    history = [entry | figures for entry, figures in zip(fit.state.history, out_of_fold.figures, strict=False)]
    return Fitted(finished, history, out_of_fold.logits, train.labels, seconds)


def _rounding(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    accuracies = [float((logits.argmax(axis=1) == labels).mean()) for logits in (before, after)]
    return {
        "accuracy_before": accuracies[0],
        "accuracy": accuracies[1],
        "largest_change_of_a_logit": float(np.abs(after - before).max()),
    }


def _with_codes(model: keras.Model, architecture: ClassifierConfig) -> keras.Model:
    """Return the classifier of `architecture`, whose n-gram tables are codes, with the weights of `model`."""
    coded = build_classifier(architecture)
    for layer in model.layers:
        if layer.name != "attention":
            coded.get_layer(layer.name).set_weights(layer.get_weights())
    coded.get_layer("attention").set_weights(tables_of(model, bits=coded.get_layer("attention").bits))
    return coded
