"""What the tests of models leave out on backends other than TensorFlow."""

import keras
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep one harness case of each layer on another backend, where compiling them takes minutes."""
    if keras.backend.backend() == "tensorflow":
        return
    seen, kept = set(), []
    for item in items:
        drawn = getattr(item, "callspec", None)
        if isinstance(item, pytest.Function) and "passes_the_harness" in item.name and drawn is not None:
            layer = item.module.CASES[drawn.params["case"]].layer_class
            if layer in seen:
                continue
            seen.add(layer)
        kept.append(item)
    items[:] = kept
