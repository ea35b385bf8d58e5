"""SeqSelfAttention: the harness over its options, its equation, and compatibility with keras-self-attention."""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.layers import SeqSelfAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
LN3 = float(np.log(3))  # softmax of (ln 1, ln 3) is (1/4, 3/4)
TYPES = ("additive", "multiplicative")
WIDTHS = (None, 1, 3, 4, 20)  # none, one key, odd, even, and wider than the text


def sees(tokens: int, width: int | None, history_only: bool) -> np.ndarray:
    """bool[query, key], as documented by keras-self-attention."""
    looks = np.zeros((tokens, tokens), bool)
    for query, key in np.ndindex(tokens, tokens):
        if width is None:
            looks[query, key] = key <= query or not history_only
        elif history_only:
            looks[query, key] = query - width + 1 <= key <= query
        else:
            looks[query, key] = query - width // 2 <= key <= query - width // 2 + width - 1
    return looks


def case(told: dict[str, Any] | None = None, **arguments: Any) -> Case:
    told = {"mask": MASK, **(told or {})}
    if arguments.get("use_attention_bias", True) and arguments.get("attention_activation") is None:
        told["without_gradient"] = frozenset({"attention_bias"})
    width, history_only = arguments.get("attention_width"), arguments.get("history_only", False)
    if width is not None or history_only:
        told["sees"] = sees(5, width, history_only)
    return Case(SeqSelfAttention, arguments, (STATES,), told)


# Both types with defaults, then every width and direction with varying activations and biases.
CASES = {
    **{attention_type: case(units=4, attention_type=attention_type) for attention_type in TYPES},
    **{
        f"{attention_type}_of_{width}_{'past' if history_only else 'around'}": case(
            units=3,
            attention_type=attention_type,
            attention_width=width,
            history_only=history_only,
            attention_activation="sigmoid" if number % 2 else None,
            use_additive_bias=number % 3 == 0,
            use_attention_bias=number % 3 != 1,
        )
        for number, (attention_type, history_only, width) in enumerate(
            itertools.product(TYPES, (False, True), (None, 3, 4))
        )
    },
    "multiplicative_of_every_option": case(
        attention_type="multiplicative",
        use_attention_bias=False,
        attention_activation="tanh",
        attention_regularizer_weight=0.5,
        scale=1.7,
    ),
    "additive_of_every_option": case(
        told={"call_arguments": {"return_band": True}},
        units=2,
        attention_width=2,
        attention_type="additive",
        return_attention=True,
        history_only=True,
        kernel_initializer="he_normal",
        bias_initializer="ones",
        kernel_regularizer=keras.regularizers.L1(0.1),
        bias_regularizer="l2",
        kernel_constraint="non_neg",
        bias_constraint=keras.constraints.MaxNorm(3),
        use_additive_bias=True,
        use_attention_bias=True,
        attention_activation="sigmoid",
        attention_regularizer_weight=0.5,
        scale=0.5,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def weighted(layer: SeqSelfAttention, *weights: Any) -> SeqSelfAttention:
    """Build the layer for states of one feature with these weights."""
    layer.build((None, None, 1))
    layer.set_weights([np.array(weight, "float32") for weight in weights])
    return layer


# --- numbers worked by hand ---


def test_multiplicative_by_hand() -> None:
    layer = weighted(SeqSelfAttention(attention_type="multiplicative"), [[LN3]], [7])
    states = np.array([[[1], [0], [9]]], "float32")  # e = ln 3 * x_t * x_t' + 7, where the 7 cancels
    _, scores = layer(states, mask=np.array([[1, 1, 0]], bool), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(scores), [[[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 0]]], atol=1e-6)


@pytest.mark.parametrize("width", [None, 5])
def test_additive_by_hand(width: int | None) -> None:
    # tanh(x_t' * atanh(1/2)) is 1/2 for x = 1 and 0 for x = 0; times 2 ln 3 it is ln 3 and 0.
    layer = SeqSelfAttention(units=1, attention_width=width)
    weighted(layer, [[0]], [[np.arctanh(0.5)]], [0], [[2 * LN3]], [0])
    states = np.array([[[1], [0], [9]]], "float32")
    context, scores = layer(states, mask=np.array([[1, 1, 0]], bool), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(scores), [[[0.75, 0.25, 0], [0.75, 0.25, 0], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(context), [[[0.75], [0.75], [0]]], atol=1e-6)


def test_width_and_history_by_hand() -> None:
    """All visible keys have equal weights. An even width reaches further back."""
    states = np.ones((1, 6, 1), "float32")
    for width, history_only, expected in (
        (3, False, [2, 3, 4]),
        (4, False, [1, 2, 3, 4]),
        (3, True, [1, 2, 3]),
        (None, True, [0, 1, 2, 3]),
        (1, False, [3]),
    ):
        layer = SeqSelfAttention(2, attention_width=width, history_only=history_only)
        _, scores = layer(states, return_attention_scores=True)
        assert np.flatnonzero(to_numpy(scores)[0, 3]).tolist() == expected


# --- against a restatement in float64 ---


def expected_map(layer: SeqSelfAttention, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Compute the map of one text pair by pair."""
    states = states.astype("float64")
    learned = {weight.name: to_numpy(weight).astype("float64") for weight in layer.weights}
    bias = learned.get("attention_bias", np.zeros(1))
    if layer.attention_type == "additive":
        kernels = [learned["query_kernel"], learned["key_kernel"], learned.get("additive_bias", np.zeros(layer.units))]
        scores = reference.additive_scores(states, *kernels, learned["score_kernel"], bias)
    else:
        scores = reference.multiplicative_scores(states, learned["score_kernel"], bias)
    if layer.attention_activation is keras.activations.sigmoid:
        scores = 1 / (1 + np.exp(-scores))
    looks = sees(len(states), layer.attention_width, layer.history_only)
    return reference.real_softmax(scores / (layer.scale or 1), reference.pairs(mask) & looks)


@pytest.mark.parametrize("history_only", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("attention_type", TYPES)
def test_seq_self_attention_is_its_equation(attention_type: Any, width: int | None, history_only: bool) -> None:
    for activation, bias, scale in ((None, True, None), ("sigmoid", True, 0.3), (None, False, 2.0)):
        layer = SeqSelfAttention(
            6,
            width,
            attention_type,
            history_only=history_only,
            bias_initializer="random_normal",
            use_additive_bias=bias,
            use_attention_bias=bias,
            attention_activation=activation,
            scale=scale,
        )
        context, scores = layer(STATES, mask=MASK, return_attention_scores=True)
        for row, (states, mask) in enumerate(zip(STATES, MASK, strict=True)):
            expected = expected_map(layer, states, mask)
            np.testing.assert_allclose(to_numpy(scores)[row], expected, atol=1e-6)
            np.testing.assert_allclose(to_numpy(context)[row], expected @ states.astype("float64"), atol=1e-6)


@pytest.mark.parametrize("history_only", [False, True])
@pytest.mark.parametrize("attention_type", TYPES)
def test_a_band_equals_the_map_and_a_full_width_equals_no_width(attention_type: Any, history_only: bool) -> None:
    states = GENERATOR.normal(size=(2, 70, 3)).astype("float32")  # several blocks
    mask = GENERATOR.uniform(size=(2, 70)) > 0.2
    whole = SeqSelfAttention(
        8, attention_type=attention_type, history_only=history_only, attention_regularizer_weight=1
    )
    context, scores = whole(states, mask=mask, return_attention_scores=True)
    nearby = SeqSelfAttention.from_config(whole.get_config() | {"attention_width": 141})
    nearby.build(states.shape)
    nearby.set_weights(whole.get_weights())
    local_context, local_scores, band = nearby(states, mask=mask, return_attention_scores=True, return_band=True)
    np.testing.assert_allclose(to_numpy(local_context), to_numpy(context), atol=1e-5)
    np.testing.assert_allclose(to_numpy(local_scores), to_numpy(scores), atol=1e-6)
    np.testing.assert_allclose(to_numpy(nearby.losses[0]), to_numpy(whole.losses[0]), rtol=1e-5)
    window = nearby.window
    assert band.shape == (2, 70, window.width)
    for query, key in np.ndindex(70, 70):
        offset = key - query + window.before
        if 0 <= offset < window.width:
            np.testing.assert_array_equal(to_numpy(band)[:, query, offset], to_numpy(local_scores)[:, query, key])


# --- compatibility with keras-self-attention ---


def test_options_have_upstream_names_order_and_defaults() -> None:
    positional = (16, 5, "multiplicative", True, True, "zeros", "ones", "l1", "l2", "non_neg", "unit_norm")
    positional += (False, False, "tanh", 0.1)
    config = SeqSelfAttention(*positional).get_config()
    assert (config["units"], config["attention_width"], config["attention_type"]) == (16, 5, "multiplicative")
    assert (config["use_additive_bias"], config["use_attention_bias"]) == (False, False)
    assert (config["attention_activation"], config["attention_regularizer_weight"]) == ("tanh", 0.1)
    default = SeqSelfAttention()
    assert (default.units, default.attention_width, default.attention_type) == (32, None, default.ATTENTION_TYPE_ADD)
    assert SeqSelfAttention.ATTENTION_TYPE_MUL == "multiplicative"


def test_weights_are_in_upstream_order() -> None:
    layer = SeqSelfAttention(4)
    layer.build((None, None, 3))
    assert [weight.shape for weight in layer.get_weights()] == [
        (3, 4),
        (3, 4),
        (4,),
        (4, 1),
        (1,),
    ]  # W_t W_x b_h W_a b_a
    layer = SeqSelfAttention(attention_type="multiplicative")
    layer.build((None, None, 3))
    assert [weight.shape for weight in layer.get_weights()] == [(3, 3), (1,)]  # W_a b_a


def test_the_option_returns_a_list_and_the_call_a_tuple() -> None:
    layer = SeqSelfAttention(4, return_attention=True)
    listed, asked = layer(STATES, mask=MASK), layer(STATES, mask=MASK, return_attention_scores=True)
    assert isinstance(listed, list)
    assert isinstance(asked, tuple)
    for one, other in zip(listed, asked, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    assert layer.compute_mask(STATES, MASK) == [MASK, None]


def test_a_model_loads_with_its_custom_objects(tmp_path: Path) -> None:
    """With nothing registered, and by the plain name after importing the class."""
    layers = [keras.layers.Embedding(9, 3, mask_zero=True), SeqSelfAttention(4, attention_width=3)]
    model = keras.Sequential([keras.Input((None,)), *layers])
    model.save(tmp_path / "model.keras")
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    registered.clear()
    try:
        objects = SeqSelfAttention.get_custom_objects()
        reloaded = [keras.models.load_model(tmp_path / "model.keras", custom_objects=objects)]
    finally:
        registered.update(before)
    for plain in ({"SeqSelfAttention": SeqSelfAttention}, None):
        reloaded.append(keras.models.load_model(tmp_path / "model.keras", custom_objects=plain))
    ids = ops.array([[1, 2, 0, 0], [3, 4, 5, 6]])
    for again in reloaded:
        np.testing.assert_array_equal(to_numpy(again(ids)), to_numpy(model(ids)))


@pytest.mark.parametrize("arguments", [{}, {"history_only": True}, {"attention_width": 3, "mask_mode": "upstream"}])
def test_a_band_without_a_width_is_an_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Expected an attention_width .*Received"):
        SeqSelfAttention(**arguments)(STATES, return_band=True)
