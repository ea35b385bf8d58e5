"""Compile the C sources beside this file: `python -m models.native` calls `build`.

Needs a C compiler with the extensions of gcc, which clang has too: `cc`, or the one that the variable CC names.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
LIBRARY = Path(os.environ.get("HEED_NATIVE_LIBRARY", FOLDER / f"_heed{sysconfig.get_config_var('EXT_SUFFIX')}"))
"""The variable is for tests of a library that was compiled in another way."""

SOURCES = ("forward.c", "forward_avx2.c", "forward_avx512.c", "ngrams.c", "tokenizer.c", "tokens_json.c")
FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fPIC", "-Wall", "-Wextra", "-Wno-psabi")


def sources_hash() -> str:
    """Return the hash that a library compiled from these sources reports, so that a stale one is not used."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()


def macros() -> list[tuple[str, str | None]]:
    """Return the macros that the sources are compiled with."""
    return [("HEED_SOURCES", f'"{sources_hash()}"')]


def build(library: Path | None = None, flags: Sequence[str] = ()) -> Path:
    """Compile the kernels to `library`, by default `LIBRARY`, and move them there in one step.

    Raises:
        FileNotFoundError: there is no compiler.
        subprocess.CalledProcessError: the compiler failed; it has printed why.
    """
    library = library or LIBRARY
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise FileNotFoundError(f"Expected a C compiler, {compiler[0]!r} or another that CC names. Found none.")
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        made = Path(scratch) / library.name
        defined = [f"-D{name}={value}" for name, value in macros()]
        sources = [str(FOLDER / name) for name in SOURCES]
        subprocess.run([*compiler, *FLAGS, *flags, *defined, "-shared", "-o", str(made), *sources, "-lm"], check=True)
        made.replace(library)
    return library
