"""A real model in C, poisoned in one of its tokens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from service.inference.native_classifier import NativeClassifier

from models.bundle.store import load_bundle
from models.tokenizer import UNKNOWN_ID
from service.inference.native_engine import NativeEngine

POISON = UNKNOWN_ID + 1  # its row is not finite
FIRST_GOOD = POISON + 1


def poisoned_engine(folder: Path, *, token_buckets: Sequence[int], threads: int = 1) -> NativeEngine:
    """The bundle in `folder`; a text with `POISON` gets numbers that are not finite."""
    bundle = load_bundle(folder)
    embedding = bundle.model.get_layer("embedding")
    table = np.array(embedding.embeddings)
    table[POISON] = np.nan
    embedding.embeddings.assign(table)
    classifier = NativeClassifier.of(bundle.model)
    assert classifier is not None
    return NativeEngine(bundle, classifier, token_buckets=token_buckets, largest_batch=4, threads=threads)
