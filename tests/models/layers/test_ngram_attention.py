from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.layers import NgramAttention
from models.layers.ngram_attention import FACTORS, PIECE, PRIME, UNSEEN
from tests.layer_checks import Case, check_case, to_numpy

GENERATOR = np.random.default_rng(11)
IDS = GENERATOR.integers(1, 30, (4, 6)).astype("int32")
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], "bool")
BUCKETS = 1009

CASES = {
    "ngrams": Case(NgramAttention, {"buckets": BUCKETS}, (IDS,), {"mask": MASK, "float32_outputs": True}),
    "ngrams_of_three_labels": Case(
        NgramAttention,
        {"features": 3, "longest": 2, "buckets": 23, "scale": 5.0, "dropout": 0.5},
        (IDS,),
        {"mask": MASK, "float32_outputs": True},
    ),
    "in_8_bits": Case(NgramAttention, {"buckets": BUCKETS, "bits": 8}, (IDS,), {"mask": MASK, "float32_outputs": True}),
    "words_alone": Case(
        NgramAttention, {"longest": 1, "buckets": BUCKETS}, (IDS,), {"mask": MASK, "float32_outputs": True}
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_ngram_attention_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def bucket(ids: list[int], buckets: int) -> int:
    """The hash in Python's integers, which never overflow."""
    state = 0
    for token in ids:
        pieces = (state % PIECE, state // PIECE, token % PIECE, token // PIECE)
        state = sum(factor * piece for factor, piece in zip(FACTORS, pieces, strict=True)) % PRIME
    return state % buckets


def reference(layer: NgramAttention, ids: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pooled, token weights and token values of one text, by the equation: float64."""
    logits, values = (weight.astype("float64") for weight in (to_numpy(w) for w in layer.weights[:2]))
    places: dict[int, list[range]] = {}
    for length in range(1, layer.longest + 1):
        for start in range(len(ids) - length + 1):
            places.setdefault(bucket(ids[start : start + length], layer.buckets), []).append(
                range(start, start + length)
            )
    grams = list(places)
    weights = np.exp(logits[grams] - logits[grams].max()) if grams else np.zeros(0)
    weights /= max(weights.sum(), 1e-300)
    token_weights, token_values = np.zeros(len(ids)), np.zeros((len(ids), layer.features))
    for gram, weight in zip(grams, weights, strict=True):
        for place in places[gram]:
            for token in place:
                share = weight / len(place) / len(places[gram])
                token_weights[token] += share
                token_values[token] += layer.scale * share * values[gram]
    return layer.scale * weights @ values[grams], token_weights, token_values


def made(**arguments: object) -> NgramAttention:
    layer = NgramAttention(**arguments)
    layer.build((None, None))
    generator = np.random.default_rng(3)
    layer.set_weights(
        [generator.normal(size=w.shape).astype(w.dtype) for w in layer.weights[:2]] + layer.get_weights()[2:]
    )
    return layer


@pytest.mark.parametrize(("longest", "buckets"), [(3, 1 << 22), (1, 11), (2, 11), (4, 5)])
def test_ngram_attention_is_its_equation(longest: int, buckets: int) -> None:
    """Repeats count once; n-grams that meet in a bucket, of whatever length, are one."""
    layer = made(longest=longest, buckets=buckets, features=2)
    generator = np.random.default_rng(longest)
    lengths = (9, 5, 1, 0, 3)
    ids = np.zeros((len(lengths), 9), "int32")
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = generator.choice([1, 2, 3, 4097, 99_999, (1 << 24) - 1], length)
    outputs = layer(ids, mask=ids != 0, return_attention_scores=True, return_values=True)
    pooled, weights, values = (to_numpy(output) for output in outputs)
    for row, length in enumerate(lengths):
        expected = reference(layer, ids[row, :length].tolist())
        np.testing.assert_allclose(pooled[row], expected[0], atol=2e-6 * layer.scale)
        np.testing.assert_allclose(weights[row, :length], expected[1], atol=1e-6)
        np.testing.assert_allclose(values[row, :length], expected[2], atol=2e-6 * layer.scale)


def test_the_hash_is_the_one_in_the_docstring() -> None:
    """The same numbers on every backend; the largest id and state come near 2^31 and stay below."""
    assert 4 * (PIECE - 1) * max(FACTORS) < 1 << 31
    assert PRIME < 1 << 24
    last, none = (1 << 24) - 1, 1 << 22
    ids = np.array([[2, 3, last, 7]], "int32")
    words, pairs, triples = to_numpy(NgramAttention(buckets=none).hashed(ids, ids != 0)).reshape(3, 4).tolist()
    # 120371 * 2, 120371 * 3, (120371 + 84631) * 4095 mod 16777213, 120371 * 7
    assert words == [240_742, 361_113, 622_540, 842_597]
    # (130363 (240742 mod 4096) + 95789 (240742 div 4096) + 120371 * 3) mod 16777213, its remainder to 2^22
    assert pairs == [bucket([2, 3], none), bucket([3, last], none), bucket([last, 7], none), none]
    assert triples == [bucket([2, 3, last], none), bucket([3, last, 7], none), none, none]


def test_by_hand() -> None:
    """ "good good film" has "good" twice, "film", "good good", "good film" and "good good film"."""
    good, film, none = 2, 3, 1 << 20
    layer = NgramAttention(longest=2, scale=2.0)
    layer.build((None, None))
    values = np.zeros((none, 1), "float32")
    values[bucket([good], none)], values[bucket([good, film], none)] = 1.0, 4.0
    logits = np.full(none, UNSEEN, "float32")
    logits[bucket([good], none)], logits[bucket([good, film], none)] = 0.0, np.log(3)
    layer.set_weights([logits, values, *layer.get_weights()[2:]])
    outputs = layer(np.array([[good, good, film]], "int32"), return_attention_scores=True, return_values=True)
    pooled, weights, values = (to_numpy(output)[0] for output in outputs)
    # a = 1/4 for "good", 3/4 for "good film"; pooled = 2 (1/4 + 3).
    np.testing.assert_allclose(pooled, [6.5], atol=1e-6)
    np.testing.assert_allclose(weights, [1 / 8, 1 / 8 + 3 / 8, 3 / 8], atol=1e-6)
    np.testing.assert_allclose(values[:, 0], [1 / 4, 1 / 4 + 3, 3], atol=1e-6)


TEXT = st.lists(st.integers(1, 5), min_size=1, max_size=12)


@given(text=TEXT, left=st.integers(0, 5), right=st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_token_weights_sum_to_one_and_values_to_the_output(text: list[int], left: int, right: int) -> None:
    layer = made(buckets=1 << 10, features=2)
    ids = np.array([[0] * left + text + [0] * right], "int32")
    outputs = layer(ids, mask=ids != 0, return_attention_scores=True, return_values=True)
    pooled, weights, values = (to_numpy(output)[0].astype("float64") for output in outputs)
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(values.sum(axis=0) / layer.scale, pooled / layer.scale, atol=1e-6)


def test_what_training_left_out_gets_no_weight_beside_what_it_saw_and_no_gradient() -> None:
    layer = made(longest=1, buckets=1 << 10)
    weights = layer.get_weights()
    weights[0][bucket([4], 1 << 10)] = UNSEEN
    layer.set_weights(weights)
    ids = np.array([[3, 4], [4, 4]], "int32")
    pooled, attention = layer(ids, return_attention_scores=True)
    np.testing.assert_array_equal(to_numpy(attention), [[1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(to_numpy(layer(ids, training=True))[1], [0])
    assert to_numpy(pooled)[1] != 0


def test_dropout_drops_whole_ngrams_in_training_alone() -> None:
    layer = made(longest=1, buckets=1 << 10, dropout=0.5, scale=1.0)
    ids = np.tile(np.array([[2, 3, 2]], "int32"), (64, 1))
    assert len(np.unique(to_numpy(layer(ids)))) == 1
    values = to_numpy(layer.ngram_values)
    good, film = (float(values[bucket([token], 1 << 10), 0]) for token in (2, 3))
    both = float(to_numpy(layer(ids))[0, 0])
    found = np.unique(np.round(to_numpy(layer(ids, training=True)), 5))
    np.testing.assert_allclose(found, sorted([0.0, both, good, film]), atol=1e-5)


@pytest.mark.parametrize(
    "arguments", [{"features": 0}, {"longest": 9}, {"buckets": (1 << 23) + 1}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_an_invalid_argument_says_what_was_expected(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"Expected .*Received"):
        NgramAttention(**arguments)


def test_bits_are_8_or_32() -> None:
    with pytest.raises(ValueError, match=r"8 or 32\. Received bits=4"):
        NgramAttention(bits=4)
