"""The layers and the classifiers on JAX. A process has one backend, so another one runs the same tests again."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[2]
FEWEST = 50
# All of the layers; of the laws of classifiers, each mechanism and each encoder once.
SELECTION = (
    "test_layers or (test_masking and not is_a_softmax and not sees_neither) or test_classifier and ("
    "additive_pooling-bilstm-mean-2 or dot_product-none-sum-3 or seq_additive-convolution-mean-3"
    " or seq_multiplicative-bigru-sum-2 or what_its_weights)"
)


@pytest.mark.parametrize("backend", ["jax"])
def test_the_layers_and_classifiers_pass_on_another_backend(backend: str, tmp_path: Path) -> None:
    assert keras.backend.backend() != backend
    files = [f"tests/models/{name}.py" for name in ("test_layers", "test_masking", "test_classifier")]
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}", "-k", SELECTION]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    summary = result.stdout.strip().splitlines()[-1]
    passed = re.search(r"(\d+) passed", summary)
    assert passed, summary
    assert int(passed[1]) >= FEWEST, summary
    assert not re.search(r"failed|error|skipped|xfailed", summary), summary
