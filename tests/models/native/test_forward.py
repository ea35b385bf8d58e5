"""The forward kernel beside NumPy, and what it refuses."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import native
from models.native.forward import NativeForward
from models.native.kernel import Output
from tests.models.native.random_model import Weights, expected_outputs, random_weights

VOCABULARY = 30
KINDS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"kind": "gru", "units": 48},
    "three labels": {"labels": 3},
    "no bias": {"kind": "gru", "bias": False},
    "wide": {"hidden": 70, "units": 96},
}
TEMPERATURE = 1.7

pytestmark = pytest.mark.usefixtures("compiled")


@cache
def model_of(kind: str) -> tuple[NativeForward, Weights]:
    weights = random_weights(np.random.default_rng(5), **KINDS[kind])
    return NativeForward(weights, temperature=TEMPERATURE), weights


def texts_of(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(1, VOCABULARY, length).astype(np.int32) for length in lengths]


def assert_equal(one: Output, other: Output) -> None:
    for received, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(0, 40), max_size=20), seed=st.integers(0, 9))
def test_it_computes_what_numpy_does(kind: str, lengths: list[int], seed: int) -> None:
    forward, weights = model_of(kind)
    texts = texts_of(lengths, seed)
    outputs, finite = forward(texts)
    assert finite
    for text, output in zip(texts, outputs, strict=True):
        for received, expected in zip(output, expected_outputs(weights, text, TEMPERATURE), strict=True):
            assert received.dtype == np.float32
            np.testing.assert_allclose(received, expected, atol=1e-5)
        assert output.attention.sum() == pytest.approx(float(len(text) > 0), abs=1e-6)


def test_all_processors_get_the_same() -> None:
    library = native.unlocked_library()
    assert library is not None
    texts = texts_of([40, 9, 1, 0, 8, 7, 33, 5, 6, 20, 21])
    for forward, weights in map(model_of, KINDS):
        expected, _ = forward(texts)
        for lanes, name in ((4, "any"), (8, "avx2"), (16, "avx512")):
            if lanes <= library.heed_lanes():
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(library, "heed_forward", library[f"heed_forward_{name}"])
                    outputs, _ = NativeForward(weights, temperature=TEMPERATURE)(texts)
                for output, other in zip(outputs, expected, strict=True):
                    for received, wanted in zip(output, other, strict=True):
                        np.testing.assert_allclose(received, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(others=st.lists(st.integers(0, 40), max_size=20), length=st.integers(0, 40), place=st.integers(0, 20))
def test_a_text_gets_the_very_same_bits_in_any_batch(kind: str, others: list[int], length: int, place: int) -> None:
    forward, _ = model_of(kind)
    [text], beside = texts_of([length], seed=1), texts_of(others, seed=2)
    [alone], _ = forward([text])
    among, _ = forward([*beside[:place], text, *beside[place:]])
    assert_equal(among[min(place, len(others))], alone)


@pytest.mark.parametrize("wrong", [-1, 0, VOCABULARY, 2**31 - 1])
def test_an_id_out_of_range_is_refused(wrong: int) -> None:
    forward, _ = model_of("lstm")
    with pytest.raises(ValueError, match=f"Expected ids from 1 to {VOCABULARY - 1}"):
        forward([np.array([1, wrong], np.int32), np.array([1], np.int32)])


def test_outputs_that_are_not_finite_are_reported() -> None:
    weights = random_weights(np.random.default_rng(0))
    weights["embedding"][7] = np.nan
    forward = NativeForward(weights)
    assert [forward([np.array([3, token], np.int32)])[1] for token in (7, 4)] == [False, True]


def reshaped(name: str, *shape: int) -> Any:
    return lambda weights: weights.__setitem__(name, np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("head_bias"), "Expected the weights"),
        (lambda weights: weights.update(more=np.zeros(1, np.float32)), "Expected the weights"),
        (lambda weights: weights.update(embedding=weights["embedding"].astype(np.float64)), "embedding to be float32"),
        (reshaped("embedding", 0, 6), "embedding to be float32"),
        (reshaped("embedding", 1, 6), "at least 2 ids"),
        (reshaped("embedding", 30, 7), "forward_kernel of shape"),
        (reshaped("embedding", 30), "embedding of shape"),
        (reshaped("forward_recurrent", 17, 68), "units a multiple of 16"),
        (reshaped("forward_recurrent", 528, 4 * 528), "units a multiple of 16"),
        (reshaped("forward_recurrent", 64), "units a multiple of 16"),
        (reshaped("backward_recurrent", 64, 256), "backward_recurrent of shape"),
        (reshaped("backward_kernel", 6, 256), "backward_kernel of shape"),
        (reshaped("backward_bias", 2, 48), "backward_bias of shape"),
        (reshaped("forward_bias", 2, 64), "Expected forward_recurrent"),
        (reshaped("attention_kernel", 31, 5), "attention_kernel of shape"),
        (reshaped("attention_query", 4, 1), "attention_query of shape"),
        (reshaped("attention_bias", 6), "attention_bias of shape"),
        (reshaped("head_kernel", 32, 3), "head_kernel of shape"),
        (reshaped("head_bias", 1), "2 to 65536 labels"),
        (reshaped("embedding", 1 << 20, 6), "tables of at most"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Any, message: str) -> None:
    weights = random_weights(np.random.default_rng(0))
    change(weights)
    with pytest.raises(ValueError, match=message):
        NativeForward(weights)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), 1e-60, 1e60, "1", None])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature: Any) -> None:
    with pytest.raises(ValueError, match="Expected a temperature above 0"):
        NativeForward(random_weights(np.random.default_rng(0)), temperature=temperature)


@pytest.mark.parametrize(
    "change",
    [
        *({"units": units} for units in (-16, 0, 15, 17, 1024, 2**31 - 16)),
        *({"gates": gates} for gates in (-1, 0, 2, 5)),
        *({"outputs": outputs} for outputs in (-64, 0, 32, 63, 65, 2**31 - 64)),
        *({"hidden": hidden} for hidden in (-64, 0, 1, 65, 2**31 - 64)),
        *({"labels": labels} for labels in (-1, 0, 1, 2**31 - 1)),
        *({"temperature": temperature} for temperature in (0, -1, float("nan"), float("inf"))),
        *({"vocabulary": vocabulary} for vocabulary in (-1, 0, 1)),
    ],
)
def test_sizes_are_checked_again_where_c_is_entered(change: dict[str, float]) -> None:
    forward = NativeForward(random_weights(np.random.default_rng(0)))
    [(name, value)] = change.items()
    setattr(forward._model, name, value)
    with pytest.raises(ValueError, match="The kernel rejects"):
        forward(texts_of([3]))


def test_many_or_long_texts_are_refused() -> None:
    forward, _ = model_of("lstm")
    with pytest.raises(ValueError, match="Expected at most 65536 texts"):
        forward([np.ones(0, np.int32)] * 65537)
    with pytest.raises(ValueError, match="of at most 1048576 tokens"):
        forward([np.ones((1 << 20) + 1, np.int32)])


def test_it_needs_the_kernels() -> None:
    native.use(False)
    try:
        with pytest.raises(RuntimeError, match="not compiled, or not wanted"):
            NativeForward(random_weights(np.random.default_rng(0)))
    finally:
        native.use(True)
