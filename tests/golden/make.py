"""Makes the golden files beside it: what the libraries that people come from answer, which our layers must answer too.

The libraries clash with the project's own environment (two of them even install a package called `tests`), so they
get one to throw away. From the root of the repository, with Python 3.11:

    python3.11 -m venv /tmp/golden-env
    /tmp/golden-env/bin/pip install --compile keras-self-attention==0.51.0 keras-multi-head==0.29.0 \
        'tensorflow-cpu==2.21.*' torch==2.13.0 keras numpy
    /tmp/golden-env/bin/python tests/golden/make.py

Every set holds what it was given (two texts of six tokens and four features, float32), the weights, and the answers;
every file the versions that made it. The same versions on the same kind of machine make the same bytes, but for the
one `.keras` file, which holds the time.
"""

import os
import platform
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras_multi_head_sets
import keras_self_attention_model
import keras_self_attention_sets
import keras_sets
import torch_sets
import write_up_sets
from golden_file import GoldenSet, write

HERE = Path(__file__).parent
KERAS = ["keras", "tensorflow-cpu"]


def make(name: str, sets: list[GoldenSet], packages: list[str]) -> None:
    file = HERE / f"{name}.npz"
    versions = {package: version(package) for package in [*packages, "numpy"]}
    write(file, sets, {"python": platform.python_version(), **versions})
    print(f"{file.name}: {len(sets)} sets, {file.stat().st_size:,} bytes, {versions}")


if __name__ == "__main__":
    model = keras_self_attention_model.sets(HERE / "keras_self_attention_model.keras")
    make("keras_self_attention_model", model, ["keras-self-attention", *KERAS])
    make("keras_self_attention", keras_self_attention_sets.sets(), ["keras-self-attention", *KERAS])
    make("keras_multi_head", keras_multi_head_sets.sets(), ["keras-multi-head", "keras-self-attention", *KERAS])
    make("keras", keras_sets.sets(), KERAS)
    make("torch", torch_sets.sets(), ["torch"])
    make("write_up", write_up_sets.sets(), [])
