import numpy as np
import pytest

from models.classifier import HEAD, build_classifier
from models.config import ClassifierConfig
from models.ngrams import NgramForward


@pytest.mark.parametrize(("labels", "longest", "buckets"), [(2, 3, 1 << 16), (3, 2, 11), (2, 1, 7)])
def test_it_gives_what_keras_gives(labels: int, longest: int, buckets: int) -> None:
    attention = {"longest": longest, "buckets": buckets, "scale": 5.0}
    model = build_classifier(
        ClassifierConfig(
            vocabulary_size=9000, labels=labels, encoder="none", mechanism="ngram_attention", attention=attention
        )
    )
    generator = np.random.default_rng(4)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(size=weight.shape))
    logits, values = (np.asarray(weight) for weight in model.get_layer("attention").weights[:2])
    kernel, bias = (np.asarray(weight) for weight in model.get_layer(HEAD).weights[:2])
    forward = NgramForward(
        {"attention_logits": logits, "values": values, "head_kernel": kernel, "head_bias": bias},
        longest=longest,
        scale=5.0,
    )
    for length in (0, 1, 2, 3, 40):
        ids = generator.choice([1, 2, 3, 4096, 8999], length).astype(np.int32)
        expected = model(np.pad(ids, (0, 3))[None])
        output = forward(ids)
        np.testing.assert_allclose(output.logits, np.asarray(expected["logits"])[0], atol=1e-5)
        np.testing.assert_allclose(output.attention, np.asarray(expected["attention"])[0, :length], atol=1e-6)
        np.testing.assert_allclose(output.contributions, np.asarray(expected["contributions"])[0, :length], atol=1e-5)


def test_tables_that_do_not_fit_are_refused() -> None:
    weights = {
        "attention_logits": np.zeros(4, np.float32),
        "values": np.zeros((5, 1), np.float32),
        "head_kernel": np.zeros((1, 2), np.float32),
        "head_bias": np.zeros(2, np.float32),
    }
    with pytest.raises(ValueError, match=r"Expected .*Received"):
        NgramForward(weights, longest=3, scale=1.0)
