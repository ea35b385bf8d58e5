"""The layers and classifiers on JAX and PyTorch, each in its own process because a process has one backend."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

import keras
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
TORCH = ROOT / ".torch"
FEWEST = 250
# Every layer's harness and equation; padding for every mechanism, and each encoder once.
SELECTION = (
    "passes_the_harness or is_its_equation or (test_masking and not is_a_softmax and not sees_neither)"
    " or test_classifier and (neither_padding and none-mean-2 or additive_pooling-none-mean-2"
    " or dot_product-convolution-sum-3 or seq_multiplicative-bilstm-mean-2)"
)
ENVIRONMENTS = {
    # Most of the time is compilation of programs that run once.
    "jax": {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"},
    # The tensors are too small for a second thread.
    "torch": {"PYTHONPATH": str(TORCH), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
}


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_the_layers_and_classifiers_pass_on_another_backend(backend: str, tmp_path: Path) -> None:
    assert keras.backend.backend() != backend
    models = ROOT / "tests" / "models"
    files = [models / f"test_{name}.py" for name in ("classifier", "layers", "masking")]
    files += sorted((models / "layers").glob("test_*.py"))
    # Compilation uses one core, so two processes take half as long.
    with ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(passed, backend, files[part::2], tmp_path / str(part)) for part in (0, 1)]
    assert sum(part.result() for part in parts) >= FEWEST


def passed(backend: str, files: list[Path], folder: Path) -> int:
    """Run the selected tests of these files, all of which must pass. Returns their number."""
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder}", "-k", SELECTION]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, files)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENTS[backend] | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    summary = result.stdout.strip().splitlines()[-1]
    count = re.search(r"(\d+) passed", summary)
    assert count, summary
    assert not re.search(r"failed|error|skipped|xfailed", summary), summary
    return int(count[1])


@pytest.mark.torch
def test_the_requirements_of_pytorch_are_installed() -> None:
    """Its lock omits packages of the test environment, so check their versions."""
    beside = {canonicalize_name(each.name): each for each in distributions(path=[str(TORCH)])}
    there = {canonicalize_name(each.name): each for each in distributions()} | beside
    assert "torch" in beside
    for each in beside.values():
        for requirement in map(Requirement, each.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            assert requirement.specifier.contains(there[canonicalize_name(requirement.name)].version), requirement
