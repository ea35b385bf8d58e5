"""A real bundle that is made in a second: random weights, a vocabulary from a few sentences."""

from pathlib import Path
from typing import Any

import keras

from models.bundle.store import save_bundle
from models.classifier import build_classifier
from models.config import ClassifierConfig
from models.tokenizer import Tokenizer

SENTENCES = (
    "I did not like it.",
    "A wonderful, moving film; the acting is superb!",
    "The plot was dull and the jokes were worse than the plot.",
    "It's the best movie I have seen this year, and I don't say that often.",
)
MAX_TOKENS = 64


def build_tiny_bundle(
    directory: Path,
    *,
    name: str = "default",
    mechanism: Any = "additive_pooling",
    encoder: Any = "none",
    encoder_units: int = 6,
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
        attention_units=5,
    )
    model = build_classifier(config)
    generator = keras.random.SeedGenerator(seed)
    for weight in model.trainable_weights:  # fresh embeddings are so small that every text would get the same answer
        weight.assign(keras.random.normal(weight.shape, stddev=0.5, seed=generator))
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
