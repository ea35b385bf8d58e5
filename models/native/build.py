"""How the C sources beside this file become a library: `python -m models.native` does it.

Needs a C compiler, `cc` or what the variable CC names, that knows the extensions of gcc: so does clang.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / f"_heed{sysconfig.get_config_var('EXT_SUFFIX')}"
SOURCES = (
    "answer.c",
    "backlog.c",
    "classify.c",
    "classify_avx2.c",
    "classify_avx512.c",
    "share.c",
    "sources.c",
    "tokens.c",
)
HEADERS = (
    "classifier.h",
    "eight.h",
    "processors.h",
    "products.h",
    "recurrence.h",
    "tokens.h",
    "vectors.h",
    "vocabulary.h",
)
FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Wno-psabi")


def sources_hash() -> str:
    """What a library compiled from these sources answers to: an older one is not called with what it does not know."""
    digest = hashlib.sha256()
    for name in (*SOURCES, *HEADERS):
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()


def macros() -> list[tuple[str, str | None]]:
    """What is defined when the sources are compiled."""
    return [("HEED_SOURCES", f'"{sources_hash()}"')]


def build() -> Path:
    """Compile the library, in one step for whoever loads it meanwhile.

    Raises:
        FileNotFoundError: there is no compiler.
        subprocess.CalledProcessError: it failed, and has said why.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise FileNotFoundError(f"Expected a C compiler, {compiler[0]!r} or another that CC names. Found none.")
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        made = Path(scratch) / LIBRARY.name
        defined = [f"-D{name}={value}" for name, value in macros()]
        sources = [str(FOLDER / name) for name in SOURCES]
        subprocess.run([*compiler, *FLAGS, *defined, "-shared", "-o", str(made), *sources, "-lm"], check=True)
        made.replace(LIBRARY)
    return LIBRARY
