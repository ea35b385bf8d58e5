"""Virtual environments made on demand, each from a lock; they may be thrown away at any time."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path


def environment(lock: Path, home: Path) -> Path:
    """The folder of programs of the environment at `home`, which is made anew where its lock has changed.

    Raises:
        CalledProcessError: pip could not install it; it says why.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    home = home.resolve()
    stamp = home / "installed.txt"
    programs = home / "bin"
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"making the environment {home.name} from {lock}, once", file=sys.stderr, flush=True)
        venv.create(home, clear=True, with_pip=True, symlinks=True)
        pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
        # Byte code now: without it every start would compile TensorFlow anew where PYTHONDONTWRITEBYTECODE is set.
        subprocess.run([*pip, "--compile", "--require-hashes", "-r", str(lock)], check=True)
        stamp.write_text(digest)
    return programs
