"""A classifier over two paths: an attention over states, and n-grams beside it."""

from typing import Any

import keras
import numpy as np

from models.attending import NGRAMS
from models.classifier import HEAD, build_classifier
from models.config import ClassifierConfig
from training.config import TrainConfig
from training.ngrams import codes_of

STATES = "states"


def parts_of(config: TrainConfig) -> dict[str, TrainConfig]:
    """Return the configurations of both paths of a hybrid, each as a classifier by itself, by name."""
    assert config.ngrams
    values = config.model_dump(mode="json")
    model = {name: value for name, value in values["model"].items() if name not in ("ngrams", "ngram_share")}
    alone: dict[str, Any] = {
        "encoder": "none",
        "mechanism": "ngram_attention",
        "attention": {name: value for name, value in config.model["ngrams"].items() if name != "bits"},
    }
    phase = {"epochs": config.ngrams.epochs, "learning_rate": config.ngrams.learning_rate}
    return {
        NGRAMS: TrainConfig.model_validate(values | {"model": alone, "phases": [phase], "vectors": False}),
        STATES: TrainConfig.model_validate(values | {"model": model, "ngrams": False}),
    }


def join(
    architecture: ClassifierConfig, parts: dict[str, keras.Model], logits: dict[str, np.ndarray]
) -> tuple[keras.Model, np.ndarray]:
    """Return a hybrid of trained parts, and its logits for held-out texts.

        z = (1 - share) z_states / sd(z_states) + share z_ngrams / sd(z_ngrams)

    where share is the part of the n-grams in the token weights, and sd the spread of logits around their mean over
    labels.

    Args:
        architecture: of the hybrid.
        parts: classifiers of its paths by name, as of `parts_of`.
        logits: float32[texts, labels] of each, for the same held-out texts.
    """
    share = architecture.ngram_share
    factors = {STATES: (1 - share) / _spread(logits[STATES]), NGRAMS: share / _spread(logits[NGRAMS])}
    model = build_classifier(architecture)
    for layer in parts[STATES].layers:
        if layer.name != HEAD:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    ngrams, head = model.get_layer(NGRAMS), model.get_layer(HEAD)
    ngrams.set_weights(tables_of(parts[NGRAMS], bits=ngrams.bits))
    weights = {name: part.get_layer(HEAD).get_weights() for name, part in parts.items()}  # kernel, bias
    head.kernel.assign(np.concatenate([factor * weights[name][0] for name, factor in factors.items()]))
    head.bias.assign(sum(factor * weights[name][1] for name, factor in factors.items()))
    return model, np.sum([factor * logits[name] for name, factor in factors.items()], axis=0)


def _spread(logits: np.ndarray) -> float:
    return max(float((logits - logits.mean(axis=1, keepdims=True)).std()), 1e-6)


def tables_of(model: keras.Model, *, bits: int) -> list[np.ndarray]:
    """Return the weights of the n-gram attention of a trained classifier for a layer of `bits` bits."""
    layer = model.get_layer("attention")
    return layer.get_weights()[:2] if bits == 32 else codes_of(*layer.get_weights()[:2])
