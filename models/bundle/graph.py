"""Whether a kernel can compute a Keras model, and which of its weights it needs."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.attending import NGRAMS, ngrams_layer
from models.bundle.archive import stored_weights
from models.bundle.card import WeightPlace
from models.classifier import EMBEDDING, ENCODER, HEAD, build_classifier
from models.config import ClassifierConfig
from models.layers import NgramAttention
from models.mechanisms import attention_layer

_UNITS_STEP, _MOST_UNITS, _BITS = 16, 512, 8
_OPTIONS = {"units", "score", "temperature", "use_bias", "activation"}  # of the pooling; others could name any class
_SCORES_ALIKE = {"score": "tanh", "activation": "tanh"}


def kernel_weights(model: keras.Model, config: ClassifierConfig) -> dict[str, np.ndarray] | None:
    """Return the weights from which `models.native` computes `model`; None where it computes something else.

    It computes a recurrent encoder over token ids with additive pooling, an attention over n-grams in 8 bits, or both,
    under a linear head. `model` must equal the graph that is built from `config`, layer for layer.
    """
    if not _is_known(config) or not _has_sizes_of(model, config) or not _equals(model, build_classifier(config)):
        return None
    head = model.get_layer(HEAD)
    weights = {"head_kernel": head.kernel, "head_bias": head.bias}
    if not _reads_ngrams_alone(config):
        weights |= _weights_of_states(model)
    if (name := _name_of_ngrams(config)) is not None:
        weights |= _weights_of_ngrams(model.get_layer(name))
    return {name: keras.ops.convert_to_numpy(weight) for name, weight in weights.items() if weight is not None}


def _weights_of_states(model: keras.Model) -> dict[str, Any]:
    encoder, pooling = model.get_layer(ENCODER), model.get_layer("attention")
    weights = {
        "embedding": model.get_layer(EMBEDDING).embeddings,
        "attention_kernel": pooling.kernel,
        "attention_bias": pooling.bias,
        "attention_query": pooling.query,
    }
    for direction, layer in (("forward", encoder.forward_layer), ("backward", encoder.backward_layer)):
        for name, weight in zip(("kernel", "recurrent", "bias"), layer.cell.weights, strict=True):
            weights[f"{direction}_{name}"] = weight
    return weights


def _weights_of_ngrams(layer: NgramAttention) -> dict[str, Any]:
    return {
        "ngram_logits": layer.attention_logits,
        "ngram_values": layer.ngram_values,
        "ngram_logit_range": layer.logit_range,
        "ngram_value_step": layer.value_step,
    }


def index_weights(archive: Path, weights: Mapping[str, np.ndarray]) -> dict[str, WeightPlace] | None:
    """Return where the Keras archive stores `weights`; None if it compresses one, or does not hold it."""
    places, content = stored_weights(archive), archive.read_bytes()
    index = {}
    for name, array in weights.items():
        offset = find_weight(array, places, content)
        if offset is None:
            return None
        index[name] = WeightPlace(offset=offset, shape=array.shape, dtype=array.dtype.name)
    return index


def find_weight(array: np.ndarray, places: Mapping[int, list[int]], content: bytes) -> int | None:
    """Return the offset in `content` of the very bytes of an array, one of `stored_weights`."""
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return next((at for at in places.get(len(data), ()) if content[at : at + len(data)] == data), None)


def _reads_ngrams_alone(config: ClassifierConfig) -> bool:
    return config.mechanism == "ngram_attention"


def _name_of_ngrams(config: ClassifierConfig) -> str | None:
    """The layer's name; None where there are no n-grams."""
    if _reads_ngrams_alone(config):
        return "attention"
    return None if config.ngrams is None else NGRAMS


def _is_known(config: ClassifierConfig) -> bool:
    if _reads_ngrams_alone(config):
        return config.attention.get("bits") == _BITS
    options = {name: config.attention.get(name, usual) for name, usual in _SCORES_ALIKE.items()}
    return (
        config.encoder in ("bilstm", "bigru")
        and config.position == "none"
        and config.mechanism == "additive_pooling"
        and config.attention.keys() <= _OPTIONS
        and config.encoder_units % _UNITS_STEP == 0
        and config.encoder_units <= _MOST_UNITS
        and options == _SCORES_ALIKE
        and (config.ngrams is None or config.ngrams.get("bits") == _BITS)
    )


def _has_sizes_of(model: keras.Model, config: ClassifierConfig) -> bool:
    """Whether the layers have the sizes of `config`, which is then safe to build: the model in memory is as large."""
    layers = {layer.name: layer for layer in model.layers}
    sizes: list[tuple[str, str, object]] = [(HEAD, "labels", config.labels)]
    if not _reads_ngrams_alone(config):
        sizes += [
            (EMBEDDING, "input_dim", config.vocabulary_size),
            (EMBEDDING, "output_dim", config.embedding_dim),
            ("attention", "units", config.attention.get("units", config.attention_units)),
        ]
    if (name := _name_of_ngrams(config)) is not None:
        expected = attention_layer(config) if _reads_ngrams_alone(config) else ngrams_layer(config)
        sizes += [(name, size, getattr(expected, size)) for size in ("buckets", "features")]
    return all(getattr(layers.get(name), size, None) == value for name, size, value in sizes)


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
