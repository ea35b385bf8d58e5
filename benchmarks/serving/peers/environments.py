"""A virtual environment a peer, made on demand from its lock; it may be thrown away at any time."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.serving.peers.roster import FOLDER, Peer


def environment(peer: Peer, folder: Path) -> Path:
    """The programs of the peer's environment below `folder`, which is made anew where its lock has changed.

    Raises:
        CalledProcessError: pip could not install it; it says why.
    """
    lock = FOLDER / peer.name / "requirements.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    home = folder.resolve() / peer.name
    stamp = home / "installed.txt"
    programs = home / "bin"
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"making the environment of {peer.title} from {lock.name}, once", file=sys.stderr, flush=True)
        venv.create(home, clear=True, with_pip=True, symlinks=True)
        pip: list[str | Path] = [
            programs / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--no-input",
        ]
        # Byte code now: without it every start would compile TensorFlow anew where PYTHONDONTWRITEBYTECODE is set.
        subprocess.run([*pip, "--compile", "--require-hashes", "-r", str(lock)], check=True)
        stamp.write_text(digest)
    return programs
