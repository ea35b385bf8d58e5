"""A real bundle that is made in a second: random weights, a vocabulary from a few sentences."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.bundle.store import save_bundle
from models.classifier import build_classifier
from models.config import ClassifierConfig
from models.layers import NgramAttention
from models.tokenizer import Tokenizer

SENTENCES = (
    "I did not like it.",
    "A wonderful, moving film; the acting is superb!",
    "The plot was dull and the jokes were worse than the plot.",
    "It's the best movie I have seen this year, and I don't say that often.",
)
MAX_TOKENS = 64

# Options of bundles with n-grams, alone and beside a recurrent encoder.
NGRAMS: dict[str, Any] = {"buckets": 1 << 16, "bits": 8}
NGRAMS_ALONE: dict[str, Any] = {"mechanism": "ngram_attention", "attention": NGRAMS}
HYBRID: dict[str, Any] = {"encoder": "bilstm", "encoder_units": 16, "ngrams": NGRAMS, "ngram_share": 0.3}


def build_tiny_bundle(
    directory: Path,
    *,
    name: str = "default",
    mechanism: Any = "additive_pooling",
    encoder: Any = "none",
    encoder_units: int = 6,
    attention: dict[str, Any] | None = None,
    ngrams: dict[str, Any] | None = None,
    ngram_share: float = 0.5,
    labels: tuple[str, ...] = ("negative", "positive"),
    seed: int = 0,
    max_tokens: int = MAX_TOKENS,
    onnx: bool = False,
) -> Path:
    """Write the bundle to `directory / name` and return that folder; with `onnx` also for ONNX Runtime, in seconds."""
    keras.utils.set_random_seed(seed)
    tokenizer = Tokenizer.fit(SENTENCES, max_words=100)
    config = ClassifierConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        labels=len(labels),
        embedding_dim=8,
        encoder=encoder,
        encoder_units=encoder_units,
        mechanism=mechanism,
        attention=attention or {},
        attention_units=5,
        ngrams=ngrams,
        ngram_share=ngram_share,
    )
    model = build_classifier(config)
    generator = keras.random.SeedGenerator(seed)
    for weight in model.trainable_weights:  # fresh embeddings are so small that every text would get the same answer
        weight.assign(keras.random.normal(weight.shape, stddev=0.5, seed=generator))
    fill_ngrams(model)
    save_bundle(
        directory / name,
        model=model,
        tokenizer=tokenizer,
        config=config,
        labels=labels,
        max_tokens=max_tokens,
        temperature=1.3,
        onnx=onnx,
    )
    return directory / name


def fill_ngrams(model: keras.Model) -> None:
    """Fill the tables of `model` in 8 bits with random codes, a third of which were never seen."""
    generator = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, NgramAttention) and layer.bits == 8:
            codes = generator.integers(1, 256, layer.buckets) * (generator.random(layer.buckets) < 2 / 3)
            layer.attention_logits.assign(codes.astype("uint8"))
            layer.ngram_values.assign(generator.integers(-127, 128, layer.ngram_values.shape).astype("int8"))
            layer.logit_range.assign([-1.3, 0.02])
            layer.value_step.assign([0.01])
