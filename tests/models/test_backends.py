"""The layers and the classifiers on JAX. A process has one backend, so another one runs the same tests again."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[2]
FEWEST = 40
# Every layer in the harness and against its equation; of the laws of classifiers, each kind of part once.
SELECTION = (
    "passes_the_harness or is_its_equation or (test_masking and not is_a_softmax and not sees_neither)"
    " or test_classifier and (additive_pooling-none-mean-2 or dot_product-convolution-sum-3"
    " or seq_multiplicative-bilstm-mean-2)"
)
# Most of the time goes into compiling programs that then run once.
QUICKLY = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}


@pytest.mark.parametrize("backend", ["jax"])
def test_the_layers_and_classifiers_pass_on_another_backend(backend: str, tmp_path: Path) -> None:
    assert keras.backend.backend() != backend
    files = [f"tests/models/test_{name}.py" for name in ("layers", "layer_equations", "masking", "classifier")]
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}", "-k", SELECTION]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=ROOT,
        env=os.environ | QUICKLY | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
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
