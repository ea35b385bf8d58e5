"""Compile the kernels with the address and undefined-behaviour sanitizers, and run their tests and random inputs.

    python -m tests.models.native.sanitize

Any fault ends the process with a report. Needs gcc with libasan.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from models.native.build import build

FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
TESTS = "tests/models/native"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", default="100000")
    options = parser.parse_args()
    libraries = [
        subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so", "libstdc++.so.6")  # the last one before NumPy brings its own
    ]
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder) / "sanitized.so", FLAGS)
        environment = os.environ | {
            "HEED_NATIVE_LIBRARY": str(library),
            "LD_PRELOAD": " ".join(libraries),
            "ASAN_OPTIONS": "detect_leaks=0",
            "OPENBLAS_NUM_THREADS": "1",
        }
        tests = [
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            TESTS,
            "--deselect",
            f"{TESTS}/test_build.py",
        ]
        for command in (tests, ["-m", "tests.models.native.fuzz", "--texts", options.texts]):
            subprocess.run([sys.executable, *command], env=environment, check=True)


if __name__ == "__main__":
    main()
