"""Makes the golden files beside it: what the libraries that people come from answer, which our layers must answer too.

The libraries clash with the project's own environment (two of them even install a package called `tests`), so they
get one to throw away. From the root of the repository, with Python 3.11:

    python3.11 -m venv /tmp/golden-env
    /tmp/golden-env/bin/pip install --compile keras-self-attention==0.51.0 keras-multi-head==0.29.0 \
        'tensorflow-cpu==2.21.*' torch==2.13.0 keras numpy
    /tmp/golden-env/bin/python tests/golden/make.py

Every set holds what it was given (two texts of six tokens and four features, float32), the weights, and the answers;
every file the versions that made it. The same versions on the same kind of machine make the same bytes.
"""

import os
import platform
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras_multi_head_sets
import keras_self_attention_sets
import keras_sets
import torch_sets
import write_up_sets
from golden_file import write

HERE = Path(__file__).parent
FILES = {
    "keras_self_attention": (keras_self_attention_sets, ["keras-self-attention", "keras", "tensorflow-cpu"]),
    "keras_multi_head": (
        keras_multi_head_sets,
        ["keras-multi-head", "keras-self-attention", "keras", "tensorflow-cpu"],
    ),
    "keras": (keras_sets, ["keras", "tensorflow-cpu"]),
    "torch": (torch_sets, ["torch"]),
    "write_up": (write_up_sets, []),
}

if __name__ == "__main__":
    for name, (module, packages) in FILES.items():
        file = HERE / f"{name}.npz"
        made = module.sets()
        versions = {package: version(package) for package in [*packages, "numpy"]}
        write(file, made, {"python": platform.python_version(), **versions})
        print(f"{file.name}: {len(made)} sets, {file.stat().st_size:,} bytes, {versions}")
