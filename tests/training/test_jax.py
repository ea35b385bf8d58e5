"""Training runs on JAX where there is no TensorFlow, as on a GPU machine that has JAX alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.training.conftest import write_imdb

ROOT = Path(__file__).parents[2]
CONFIG = """
name = "tiny"
batch_size = 16
data = { validation_share = 0.2, fewest_validation = 0, max_words = 100, max_tokens = 32 }
vectors = { min_count = 1, epochs = 1 }
model = { encoder = "none", embedding_dim = 8, attention_units = 4 }
phases = [{ epochs = 2, learning_rate = 0.05, average = 0.5 }]
"""


def test_a_bundle_is_trained_and_saved_without_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text('raise ImportError("hidden by a test")')
    (tmp_path / "tiny.toml").write_text(CONFIG)
    data = write_imdb(tmp_path)
    command = ["train", str(tmp_path / "tiny.toml"), "--data", str(data), "--out", str(tmp_path / "tiny")]
    done = subprocess.run(
        [sys.executable, "-m", "training", *command],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    card = json.loads((tmp_path / "tiny" / "bundle.json").read_text())
    assert len(card["training"]["history"]) == 2
