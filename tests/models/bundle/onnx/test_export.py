"""Every mechanism and encoder in ONNX says what Keras says, whatever a text is batched and padded with."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from onnx import ModelProto

from models.bundle.onnx.bundle import OnnxModel
from models.bundle.onnx.export import ExportError, to_onnx, write_onnx
from models.bundle.probe import make_probe
from models.classifier import ENCODER, build_classifier
from models.mechanisms import MECHANISMS
from tests.models.test_classifier import ENCODERS, OPTIONS, READS_IDS, VOCABULARY, padded, small
from tests.tiny_bundle import NGRAMS, fill_ngrams

# Every mechanism as it is, and the options that are computed in another way.
CHOSEN = [
    *MECHANISMS,
    *("elementwise_positions", "multi_head_causal", "multi_head_beside_sinusoidal", "multi_head_trainable"),
    *("local_dilated", "dot_pooling", "seq_additive_even_width", "seq_multiplicative_near_history"),
    *("residual_thrice", "keras_attention_concat", "transformer_deep"),
]
IN_8_BITS = {
    "ngrams_in_8_bits": ("ngram_attention", {"attention": NGRAMS}),
    "hybrid": ("additive_pooling", {"ngrams": NGRAMS, "ngram_share": 0.3}),
}
LENGTHS = (6, 3, 0, 1, 5)
AGREES, INVARIANT = 1e-4, 1e-5

Outputs = dict[str, np.ndarray]


def exported(encoder: Any, options: str) -> tuple[keras.Model, ModelProto]:
    mechanism, values = (OPTIONS | IN_8_BITS)[options]
    model = build_classifier(small(mechanism=mechanism, encoder=encoder, labels=3, **values))
    generator = np.random.default_rng(5)
    for weight in model.trainable_weights:  # large enough to make a difference
        weight.assign(generator.normal(scale=0.5, size=weight.shape))
    fill_ngrams(model)
    return model, to_onnx(model)


def keras_says(model: keras.Model, ids: np.ndarray) -> Outputs:
    return {name: np.asarray(output) for name, output in model(ids, training=False).items()}


def assert_same(received: Outputs, expected: Outputs, lengths: Sequence[int], tolerance: float) -> None:
    assert received.keys() == expected.keys()
    np.testing.assert_allclose(received["logits"], expected["logits"], atol=tolerance, rtol=tolerance)
    for name in expected.keys() - {"logits"}:
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(
                received[name][row, :length], expected[name][row, :length], atol=tolerance, rtol=tolerance
            )
            assert (received[name][row, length:] == 0).all()


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        *(
            ("none" if options == READS_IDS else encoder, options)
            for encoder, options in zip(itertools.cycle(("none", *ENCODERS)), CHOSEN, strict=False)
        ),
        *((encoder, "additive_pooling") for encoder in ("none", "convolution", "bilstm")),
        ("none", "ngrams_in_8_bits"),
        *((encoder, "hybrid") for encoder in ("none", "bilstm", "bigru")),
    ],
)
def test_onnx_says_what_keras_says_in_any_batch_and_width(encoder: str, options: str) -> None:
    model, graph = exported(encoder, options)
    onnx_model = OnnxModel(graph.SerializeToString(), {})
    generator = np.random.default_rng(0)
    texts = [generator.integers(1, VOCABULARY, length).tolist() for length in LENGTHS]
    ids, _ = padded(texts, max(LENGTHS), lambda room: 0)
    together = onnx_model(ids)
    assert {name: output.dtype for name, output in together.items()} == dict.fromkeys(together, np.dtype("float32"))
    assert_same(together, keras_says(model, ids), LENGTHS, AGREES)
    wider, _ = padded(texts, max(LENGTHS) + 3, lambda room: 0)
    assert_same(onnx_model(wider), together, LENGTHS, INVARIANT)
    for row, length in enumerate(LENGTHS):
        if length:
            alone = {name: output[row : row + 1] for name, output in together.items()}
            assert_same(onnx_model(ids[row : row + 1, :length]), alone, [length], INVARIANT)


@pytest.mark.parametrize(("encoder", "operator"), [("bilstm", "LSTM"), ("bigru", "GRU")])
def test_a_recurrent_encoder_is_one_operator_and_every_axis_is_free(encoder: str, operator: str) -> None:
    _, graph = exported(encoder, "additive_pooling")
    operators = [node.op_type for node in graph.graph.node]
    assert operators.count(operator) == 1
    assert not {"Loop", "Scan", "If"} & set(operators)
    (ids,) = graph.graph.input
    assert all(not axis.HasField("dim_value") for axis in ids.type.tensor_type.shape.dim)


def test_an_encoder_that_onnx_cannot_express_is_refused(tmp_path: Path) -> None:
    model = build_classifier(small(encoder="bilstm"))
    model.get_layer(ENCODER).forward_layer.cell.activation = keras.activations.relu
    model.save(tmp_path / "model.keras")
    probe = make_probe(lambda ids: keras_says(model, ids), vocabulary_size=VOCABULARY, max_tokens=6, bases=(0.0, 0.0))
    assert probe is not None
    with pytest.raises(ExportError, match="Expected encoder to be a plain LSTM"):
        write_onnx(tmp_path, model, probe)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
