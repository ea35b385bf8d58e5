"""Whether a kernel can compute a Keras model, and which of its weights it needs."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.bundle.archive import stored_weights
from models.bundle.card import WeightPlace
from models.classifier import EMBEDDING, ENCODER, HEAD, build_classifier
from models.config import ClassifierConfig

_UNITS_STEP, _MOST_UNITS = 16, 512
_OPTIONS = {"units", "score", "temperature", "use_bias", "activation"}  # of the pooling; others could name any class
_SCORES_ALIKE = {"score": "tanh", "activation": "tanh"}


def kernel_weights(model: keras.Model, config: ClassifierConfig) -> dict[str, np.ndarray] | None:
    """Return the weights from which `models.native.forward` computes `model`; None where it computes something else.

    It computes a recurrent encoder over token ids, additive pooling and a linear head. `model` must equal the graph
    that is built from `config`, layer for layer.
    """
    if not _is_known(config) or not _has_sizes_of(model, config) or not _equals(model, build_classifier(config)):
        return None
    encoder, pooling, head = (model.get_layer(name) for name in (ENCODER, "attention", HEAD))
    weights = {
        "embedding": model.get_layer(EMBEDDING).embeddings,
        "attention_kernel": pooling.kernel,
        "attention_bias": pooling.bias,
        "attention_query": pooling.query,
        "head_kernel": head.kernel,
        "head_bias": head.bias,
    }
    for direction, layer in (("forward", encoder.forward_layer), ("backward", encoder.backward_layer)):
        for name, weight in zip(("kernel", "recurrent", "bias"), layer.cell.weights, strict=True):
            weights[f"{direction}_{name}"] = weight
    return {name: keras.ops.convert_to_numpy(weight) for name, weight in weights.items() if weight is not None}


def index_weights(archive: Path, weights: Mapping[str, np.ndarray]) -> dict[str, WeightPlace] | None:
    """Return where the Keras archive stores `weights`; None if it compresses one, or does not hold it."""
    places, content = stored_weights(archive), archive.read_bytes()
    index = {}
    for name, array in weights.items():
        offset = find_weight(array, places, content)
        if offset is None:
            return None
        index[name] = WeightPlace(offset=offset, shape=array.shape)
    return index


def find_weight(array: np.ndarray, places: Mapping[int, list[int]], content: bytes) -> int | None:
    """Return the offset in `content` of the very bytes of an array, one of `stored_weights`."""
    data = array.astype("<f4", copy=False).tobytes()
    return next((at for at in places.get(len(data), ()) if content[at : at + len(data)] == data), None)


def _is_known(config: ClassifierConfig) -> bool:
    options = {name: config.attention.get(name, usual) for name, usual in _SCORES_ALIKE.items()}
    return (
        config.encoder in ("bilstm", "bigru")
        and config.position == "none"
        and config.mechanism == "additive_pooling"
        and config.attention.keys() <= _OPTIONS
        and config.encoder_units % _UNITS_STEP == 0
        and config.encoder_units <= _MOST_UNITS
        and options == _SCORES_ALIKE
    )


def _has_sizes_of(model: keras.Model, config: ClassifierConfig) -> bool:
    """Whether the layers have the sizes of `config`, which is then safe to build: the model in memory is as large."""
    layers = {layer.name: layer for layer in model.layers}
    return (
        getattr(layers.get(EMBEDDING), "input_dim", None) == config.vocabulary_size
        and getattr(layers.get(EMBEDDING), "output_dim", None) == config.embedding_dim
        and getattr(layers.get("attention"), "units", None) == config.attention.get("units", config.attention_units)
        and getattr(layers.get(HEAD), "labels", None) == config.labels
    )


def _equals(model: keras.Model, built: keras.Model) -> bool:
    """Whether two models have the same layers, options, connections and shapes, and compute in float32."""
    return (
        all(layer.compute_dtype == "float32" for layer in model.layers)
        and _normalized(model) == _normalized(built)
        and [(weight.shape, weight.dtype) for weight in model.weights]
        == [(weight.shape, weight.dtype) for weight in built.weights]
    )


def _normalized(model: keras.Model) -> Any:
    """The configuration of a model as JSON, without what changes no answer."""
    return json.loads(json.dumps(model.get_config(), default=repr), object_hook=_without_chance)


def _without_chance(node: dict[str, Any]) -> dict[str, Any]:
    """A part of a configuration without the numbers that Keras adds to names, and without what matters in training."""
    kept = {name: value for name, value in node.items() if name != "trainable"}
    if re.fullmatch(r"(forward|backward)_(lstm|gru)(_\d+)?", str(kept.get("name"))):
        kept["name"] = re.sub(r"_\d+$", "", kept["name"])
    return kept
