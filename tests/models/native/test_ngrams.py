"""The kernel of n-grams beside NumPy, alone and beside the states, and what it refuses."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import native
from models.native.hybrid import NativeHybrid, kernel_of
from models.native.kernel import Kernel
from models.native.ngrams import NativeNgrams
from tests.models.native.random_model import (
    Weights,
    bucket_of,
    expected_of_ngrams,
    expected_outputs,
    random_ngrams,
    random_weights,
)

VOCABULARY, LARGEST_ID = 30, (1 << 24) - 1
KINDS: dict[str, dict[str, Any]] = {
    "two labels": {},
    "three labels": {"features": 3, "labels": 3},
    "few buckets": {"buckets": 5, "features": 2},
    "nearly all unseen": {"seen": 0.05},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "two labels": {},
    "three labels": {"longest": 2, "scale": 4.0},
    "few buckets": {"longest": 5},
    "nearly all unseen": {"longest": 1},
}
TEMPERATURE, SHARE = 1.7, 0.3

pytestmark = pytest.mark.usefixtures("compiled")


@cache
def model_of(kind: str) -> tuple[NativeNgrams, Weights]:
    weights = random_ngrams(np.random.default_rng(5), **KINDS[kind])
    return NativeNgrams(weights, **OPTIONS[kind]), weights


@cache
def hybrid_of(labels: int) -> tuple[Kernel, Weights, Weights]:
    """A hybrid, and the weights of its paths; the bias is that of the states."""
    generator = np.random.default_rng(labels)
    states = random_weights(generator, vocabulary=VOCABULARY, labels=labels)
    states["head_kernel"] *= 5  # so that the paths name different labels
    ngrams = random_ngrams(generator, features=labels, labels=labels)
    head = np.concatenate([states["head_kernel"], ngrams["head_kernel"]])
    ngrams["head_bias"][:] = 0
    config = {"attention": {"temperature": TEMPERATURE}, "ngrams": {"longest": 2, "bits": 8}, "ngram_share": SHARE}
    joined = ngrams | states | {"head_kernel": head}
    return kernel_of(joined, {**config, "mechanism": "additive_pooling"}), states, ngrams


def texts_of(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(1, VOCABULARY, length).astype(np.int32) for length in lengths]


def assert_near(output: Any, expected: Sequence[np.ndarray]) -> None:
    for received, wanted in zip(output, expected, strict=True):
        assert received.dtype == np.float32
        np.testing.assert_allclose(received, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(lengths=st.lists(st.integers(0, 40), max_size=9), seed=st.integers(0, 9))
def test_it_computes_what_numpy_does(kind: str, lengths: list[int], seed: int) -> None:
    kernel, weights = model_of(kind)
    texts = texts_of(lengths, seed)
    outputs, finite = kernel(texts)
    assert finite
    for text, output in zip(texts, outputs, strict=True):
        assert_near(output, expected_of_ngrams(weights, text, **OPTIONS[kind]))
        assert output.attention.sum() == pytest.approx(float(len(text) > 0), abs=1e-6)


def test_ids_may_be_as_large_as_the_hash_takes() -> None:
    kernel, weights = model_of("two labels")
    text = np.array([LARGEST_ID, 1, LARGEST_ID, 4095, 4096, LARGEST_ID], np.int32)
    [output], _ = kernel([text])
    assert_near(output, expected_of_ngrams(weights, text))


def test_an_ngram_that_training_left_out_has_no_weight_beside_another() -> None:
    weights = random_ngrams(np.random.default_rng(0), seen=0)
    weights["ngram_logits"][bucket_of([3], 1009)] = 1
    [seen, unseen], _ = NativeNgrams(weights, longest=1)([np.array([3, 4, 5], np.int32), np.array([4, 5, 4], np.int32)])
    np.testing.assert_array_equal(seen.attention, [1, 0, 0])
    np.testing.assert_allclose(unseen.attention, [1 / 4, 1 / 2, 1 / 4])


@pytest.mark.parametrize("labels", [2, 3])
@settings(max_examples=20)
@given(lengths=st.lists(st.integers(0, 40), max_size=9), seed=st.integers(0, 9))
def test_beside_the_states_both_are_added_for_the_label_of_both(labels: int, lengths: list[int], seed: int) -> None:
    kernel, states, ngrams = hybrid_of(labels)
    texts = texts_of(lengths, seed)
    outputs, finite = kernel(texts)
    assert finite
    for text, output in zip(texts, outputs, strict=True):
        of_ngrams, of_states = expected_of_ngrams(ngrams, text, longest=2), expected_outputs(states, text, TEMPERATURE)
        logits = of_states[0] + of_ngrams[0]
        target = 1 if labels == 2 else int(logits.argmax())
        bias = states["head_bias"].astype(float)
        attention = (1 - SHARE) * of_states[1] + SHARE * of_ngrams[1]
        assert_near(output[:2], (logits, attention))
        # What is exact: base and contributions sum to the contrast of the label that is answered.
        base, contrast = (each[target] - np.delete(each, target).mean() for each in (bias, logits))
        assert output.contributions.sum(dtype=float) == pytest.approx(contrast - base, abs=1e-4)
        part = expected_of_ngrams(ngrams, text, longest=2, target=target)[2]
        if of_states[0].argmax() == target or labels == 2:
            np.testing.assert_allclose(output.contributions, of_states[2] + part, atol=1e-4)


def test_the_paths_of_a_hybrid_name_different_labels_in_these_tests() -> None:
    _, states, ngrams = hybrid_of(3)
    winners = [
        [
            expected_outputs(states, text, TEMPERATURE)[0].argmax(),
            expected_of_ngrams(ngrams, text, longest=2)[0].argmax(),
        ]
        for text in texts_of([9] * 20)
    ]
    assert 3 < sum(one != other for one, other in winners) < 20


@pytest.mark.parametrize("kind", [*KINDS, "hybrid"])
@settings(max_examples=20)
@given(others=st.lists(st.integers(0, 40), max_size=20), length=st.integers(0, 40), place=st.integers(0, 20))
def test_a_text_gets_the_very_same_bits_in_any_batch(kind: str, others: list[int], length: int, place: int) -> None:
    kernel = hybrid_of(3)[0] if kind == "hybrid" else model_of(kind)[0]
    [text], beside = texts_of([length], seed=1), texts_of(others, seed=2)
    [alone], _ = kernel([text])
    among, _ = kernel([*beside[:place], text, *beside[place:]])
    for received, expected in zip(among[min(place, len(others))], alone, strict=True):
        np.testing.assert_array_equal(received, expected)


def test_a_long_text_of_one_ngram_or_of_many_takes_linear_time() -> None:
    """The sort does not depend on the text, so nobody can choose one that is slow."""
    kernel, _ = model_of("two labels")
    outputs, _ = kernel([np.ones(1 << 16, np.int32), np.arange(1, (1 << 16) + 1, dtype=np.int32)])
    for output in outputs:
        assert output.attention.sum(dtype=float) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("wrong", [-1, 0, LARGEST_ID + 1, 2**31 - 1])
def test_an_id_out_of_range_is_refused(wrong: int) -> None:
    kernel, _ = model_of("two labels")
    with pytest.raises(ValueError, match=f"Expected ids from 1 to {LARGEST_ID}"):
        kernel([np.array([1, wrong], np.int32), np.array([1], np.int32)])


def test_outputs_that_are_not_finite_are_reported() -> None:
    weights = random_ngrams(np.random.default_rng(0))
    for name in ("ngram_logit_range", "ngram_value_step", "head_bias"):
        spoilt = weights | {name: np.full_like(weights[name], np.nan)}
        assert [NativeNgrams(each)(texts_of([3]))[1] for each in (spoilt, weights)] == [False, True]


def array(name: str, dtype: str, *shape: int) -> Any:
    return lambda weights: weights.__setitem__(name, np.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("head_bias"), "Expected the weights"),
        (lambda weights: weights.update(more=np.zeros(1, np.float32)), "Expected the weights"),
        (array("ngram_logits", "float32", 1009), "ngram_logits of uint8"),
        (array("ngram_logits", "uint8", 1008), "ngram_logits of uint8"),
        (array("ngram_values", "uint8", 1009, 1), "ngram_values of int8"),
        (array("ngram_values", "int8", 1009), "Expected ngram_"),
        (array("ngram_values", "int8", 0, 1), "of "),
        (array("ngram_values", "int8", 1009, 2), "head_kernel of float32"),
        (array("ngram_logit_range", "float32", 3), "ngram_logit_range of float32"),
        (array("ngram_value_step", "float32", 2), "ngram_value_step of float32"),
        (array("head_kernel", "float32", 1, 3), "head_kernel of float32"),
        (lambda weights: weights.update(head_kernel=np.zeros((1, 1), "f4"), head_bias=np.zeros(1, "f4")), "2 to 65536"),
        (
            lambda weights: weights.update(
                ngram_logits=np.zeros((1 << 23) + 1, np.uint8), ngram_values=np.zeros(((1 << 23) + 1, 1), np.int8)
            ),
            "at most 8388608 buckets",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Any, message: str) -> None:
    weights = random_ngrams(np.random.default_rng(0))
    change(weights)
    with pytest.raises(ValueError, match=message):
        NativeNgrams(weights)


@pytest.mark.parametrize(
    "options",
    [
        *({"longest": longest} for longest in (0, 9, 2.0, "3", None)),
        *({"scale": scale} for scale in ("1", None, float("nan"), float("inf"), 10**400)),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Expected (n-grams of 1 to 8 tokens|a scale)"):
        NativeNgrams(random_ngrams(np.random.default_rng(0)), **options)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), 10**400, "half", None])
def test_a_share_is_a_part(share: Any) -> None:
    _, states, ngrams = hybrid_of(2)
    weights = ngrams | states | {"head_kernel": np.concatenate([states["head_kernel"], ngrams["head_kernel"]])}
    with pytest.raises(ValueError, match="Expected a share from 0 to 1"):
        NativeHybrid(weights, temperature=1, share=share)


def test_a_hybrid_of_other_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected the weights of a hybrid"):
        NativeHybrid(random_ngrams(np.random.default_rng(0)), temperature=1, share=0.5)
    weights = random_weights(np.random.default_rng(0)) | random_ngrams(np.random.default_rng(0))
    with pytest.raises(ValueError, match="head_kernel of"):
        NativeHybrid(weights, temperature=1, share=0.5)


@pytest.mark.parametrize(
    "change",
    [
        *({"buckets": buckets} for buckets in (-1, 0, (1 << 23) + 1, 2**31 - 1)),
        *({"longest": longest} for longest in (-1, 0, 9, 2**31 - 1)),
        *({"features": features} for features in (-1, 0, 65537, 2**31 - 1)),
        *({"labels": labels} for labels in (-1, 0, 1, 65537, 2**31 - 1)),
    ],
)
def test_sizes_are_checked_again_where_c_is_entered(change: dict[str, int]) -> None:
    kernel = NativeNgrams(random_ngrams(np.random.default_rng(0)))
    [(name, value)] = change.items()
    setattr(kernel._model, name, value)
    with pytest.raises(ValueError, match="The kernel rejects"):
        kernel(texts_of([3]))


def test_it_needs_the_kernels() -> None:
    native.use(False)
    try:
        with pytest.raises(RuntimeError, match="not compiled, or not wanted"):
            NativeNgrams(random_ngrams(np.random.default_rng(0)))
    finally:
        native.use(True)
